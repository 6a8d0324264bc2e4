package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

func TestBasic_Blocks(t *testing.T) {
	t.Parallel()
	const path, user = "/rest/api/latest/users", "dana"
	for name, c := range map[string]struct {
		paths, users []string
		path, user   string
		through      bool
	}{
		"nothing_is_let_through":                     {nil, nil, path, user, false},
		"a_path_as_it_is":                            {[]string{path}, nil, path, user, true},
		"a_path_is_anchored_at_its_end":              {[]string{"/rest/api"}, nil, path, user, false},
		"a_path_is_anchored_at_its_beginning":        {[]string{"/latest/users"}, nil, path, user, false},
		"a_star_runs_over_slashes":                   {[]string{"/rest/*"}, nil, path, user, true},
		"a_star_in_the_middle":                       {[]string{"/rest/*/users"}, nil, path, user, true},
		"a_star_may_be_nothing":                      {[]string{"/rest/api/*latest/users*"}, nil, path, user, true},
		"several_stars":                              {[]string{"*/api/*/us*rs"}, nil, path, user, true},
		"pieces_in_another_order":                    {[]string{"*latest*api*"}, nil, path, user, false},
		"pieces_do_not_overlap":                      {[]string{"/rest/api*api/latest/users"}, nil, path, user, false},
		"the_last_piece_is_the_end":                  {[]string{"*a"}, nil, "/a/b/a", user, true},
		"a_star_alone":                               {[]string{"*"}, nil, path, user, true},
		"a_path_keeps_its_case":                      {[]string{"/REST/*"}, nil, path, user, false},
		"a_dot_is_a_dot":                             {[]string{"/rest.api/*"}, nil, path, user, false},
		"a_question_mark_is_itself":                  {[]string{"/rest/ap?/*"}, nil, path, user, false},
		"one_of_several_paths":                       {[]string{"/a", "/b", "/rest/api/*"}, nil, path, user, true},
		"a_path_that_was_escaped_in_the_request":     {[]string{"/rest/a b"}, nil, "/rest/a b", user, true},
		"a_user_as_it_is":                            {nil, []string{"dana"}, path, user, true},
		"a_user_in_any_case":                         {nil, []string{"DaNa"}, path, "dAnA", true},
		"a_user_in_any_width":                        {nil, []string{"dana"}, path, "ｄａｎａ", true},
		"a_user_by_pattern":                          {nil, []string{"Robot-*"}, path, "robot-7", true},
		"an_address_by_pattern":                      {nil, []string{"*@example.test"}, path, "Dana@Example.test", true},
		"an_address_by_a_pattern_of_names":           {nil, []string{"build-*"}, path, "build-me@example.test", false},
		"an_address_by_a_star_alone":                 {nil, []string{"*"}, path, "dana@example.test", false},
		"an_address_with_another_sign":               {nil, []string{"build-*"}, path, "build-me＠example.test", false},
		"an_address_as_it_is":                        {nil, []string{"build-me@example.test"}, path, "build-me@example.test", true},
		"an_address_by_the_second_pattern":           {nil, []string{"build-*", "build-*@example.test"}, path, "build-me@example.test", true},
		"a_pattern_of_addresses_means_no_names":      {nil, []string{"*@example.test"}, path, user, false},
		"a_user_is_anchored":                         {nil, []string{"dan"}, path, user, false},
		"a_user_is_as_presented":                     {nil, []string{"dana"}, path, "dana@example.test", false},
		"a_path_pattern_is_no_user_pattern":          {[]string{"dana"}, nil, path, user, false},
		"a_user_or_a_path_is_enough":                 {[]string{"/elsewhere"}, []string{"dana"}, path, user, true},
		"a_star_in_the_path_itself_is_no_pattern":    {[]string{"/rest/x"}, nil, "/rest/*", user, false},
		"a_star_in_the_name_itself_is_no_pattern":    {nil, []string{"dana"}, path, "*", false},
		"a_look_alike_of_a_star_in_the_name_neither": {nil, []string{"dana"}, path, "＊", false},
		"a_name_that_nobody_can_have":                {nil, []string{"d*"}, path, "d\x00", false},
		"a_star_lets_even_those_through":             {nil, []string{"*"}, path, strings.Repeat("d", 5000), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := policy.Basic{Block: true, Paths: c.paths, Users: c.users}
			if b.Blocks(c.path, c.user) == c.through {
				t.Errorf("let through: %v", !c.through)
			}
			b.Block = false
			if b.Blocks(c.path, c.user) {
				t.Error("blocks while it is switched off")
			}
		})
	}
}

// FuzzBasic_Blocks compares with the one other reading of a pattern: a regular expression, which Go matches in linear time.
func FuzzBasic_Blocks(f *testing.F) {
	f.Add("*a*b*", "xaxbx")
	f.Add("a*a", "a")
	f.Add("*aab", "aaaab")
	f.Add("**", "")
	f.Add(strings.Repeat("a*", 10)+"b", strings.Repeat("a", 50))
	f.Fuzz(func(t *testing.T, pattern, path string) {
		pieces := strings.Split(pattern, "*")
		for i, piece := range pieces {
			pieces[i] = regexp.QuoteMeta(piece)
		}
		same, err := regexp.Compile(`(?s)\A` + strings.Join(pieces, `.*`) + `\z`)
		if err != nil || strings.ToValidUTF8(path, "") != path {
			t.Skip("a regular expression reads characters, not bytes")
		}
		b := policy.Basic{Block: true, Paths: []string{pattern}}
		if got, want := !b.Blocks(path, "dana"), same.MatchString(path); got != want {
			t.Errorf("%q on %q: %v, want %v", pattern, path, got, want)
		}
	})
}

// What a robot sends costs no more than the length of it, whatever the patterns are (rule W13).
func BenchmarkBasic_Blocks_hostile(b *testing.B) {
	patterns := make([]string, 100)
	for i := range patterns {
		patterns[i] = strings.Repeat("a*", 127) + "b"
	}
	p, long := policy.Basic{Block: true, Paths: patterns, Users: patterns}, strings.Repeat("a", 60<<10)
	for b.Loop() {
		if !p.Blocks(long, "dana") {
			b.Fatal("let through")
		}
	}
}
