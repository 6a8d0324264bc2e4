package recent_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/recent"
)

var now = time.Date(2026, 3, 12, 8, 0, 0, 0, time.UTC)

func TestAnswers(t *testing.T) {
	t.Parallel()
	answer := func(n int) recent.Answer[int, string] {
		return recent.Answer[int, string]{Key: n, ID: "id " + strconv.Itoa(n), Value: strconv.Itoa(n), Until: now.Add(time.Second)}
	}
	kept := func(a *recent.Answers[int, string], n int) bool {
		v, ok := a.ByKey(n, now)
		w, byID := a.ByID("id "+strconv.Itoa(n), now)
		if ok != byID || ok && (v != strconv.Itoa(n) || w != v) {
			t.Errorf("%d: %q %v, by id %q %v", n, v, ok, w, byID)
		}
		return ok
	}
	t.Run("are kept until their time, which is too late", func(t *testing.T) {
		t.Parallel()
		var a recent.Answers[int, string]
		if kept(&a, 1) {
			t.Error("the zero value knows something")
		}
		a.Keep(answer(1), now, a.Era())
		_, before := a.ByKey(1, now.Add(time.Second-1))
		_, at := a.ByKey(1, now.Add(time.Second))
		if !kept(&a, 1) || !before || at {
			t.Error(before, at)
		}
	})
	t.Run("are forgotten, with what is being read meanwhile", func(t *testing.T) {
		t.Parallel()
		for name, forget := range map[string]func(*recent.Answers[int, string]){
			"one": func(a *recent.Answers[int, string]) { a.Forget("id 1") },
			"if":  func(a *recent.Answers[int, string]) { a.ForgetIf(func(v string) bool { return v == "1" }) },
			"all": (*recent.Answers[int, string]).ForgetAll,
		} {
			var a recent.Answers[int, string]
			a.Keep(answer(1), now, a.Era())
			a.Keep(answer(2), now, a.Era())
			era := a.Era()
			forget(&a)
			a.Keep(answer(1), now, era)
			if kept(&a, 1) || kept(&a, 2) != (name != "all") {
				t.Error(name)
			}
		}
	})
	t.Run("never exceed their bound, and stale ones go first", func(t *testing.T) {
		t.Parallel()
		var a recent.Answers[int, string]
		late := now.Add(time.Minute)
		for n := range 10_000 {
			one := answer(n)
			if n%2 == 0 {
				one.Until = late.Add(time.Second)
			}
			a.Keep(one, now, a.Era())
		}
		one := answer(-1)
		one.Until = late.Add(time.Second)
		a.Keep(one, late, a.Era())
		for n := -1; n < 10_000; n++ {
			if _, ok := a.ByKey(n, late); ok != (n == -1 || n%2 == 0) {
				t.Fatal(n, ok)
			}
		}
	})
}
