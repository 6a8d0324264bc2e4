package bitbucket

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/token"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

const noSuchToken = exceptions + "user.NoSuchAccessTokenException"

// wireToken is a RestAccessToken; with its plain text a RestRawAccessToken.
type wireToken struct {
	ID          string          `json:"id"`
	Created     *int64          `json:"createdDate"`
	LastUsed    *int64          `json:"lastAuthenticated,omitempty"`
	Expires     *int64          `json:"expiryDate,omitempty"`
	Name        string          `json:"name"`
	Permissions []string        `json:"permissions"`
	User        *wireUser       `json:"user,omitempty"`
	Project     *wireProject    `json:"project,omitempty"`
	Repository  *wireRepository `json:"repository,omitempty"`
	Plain       string          `json:"token,omitempty"`
}

func tokenOf(t token.Access, of tokenHolder) wireToken {
	out := wireToken{
		ID: t.Handle, Created: millis(t.Created), LastUsed: millis(t.LastUsed), Expires: millis(t.Expires), Name: t.Name, Permissions: make([]string, len(t.Permissions)),
		User: of.user, Project: of.project, Repository: of.repository,
	}
	for i, p := range t.Permissions {
		out.Permissions[i] = permissionWord(string(p))
	}
	return out
}

// permissionWord is a word of the domain, "repo.read", as this wire has it.
func permissionWord(is string) string {
	return strings.ToUpper(strings.ReplaceAll(is, ".", "_"))
}

// permissionOf is the domain's word for one of this wire. What is none of this wire keeps a mark in front, so that it is none of the domain either.
func permissionOf(word string) string {
	for _, is := range []token.Permission{token.RepoRead, token.RepoWrite, token.RepoAdmin, token.ProjectRead, token.ProjectWrite, token.ProjectAdmin} {
		if permissionWord(string(is)) == word {
			return string(is)
		}
	}
	return unknownMark + word
}

const unknownMark = "?"

// readToken reads what a token is made from or changed to. Members that are absent or null are nil.
func readToken(r *http.Request) (token.AccessChange, error) {
	body, err := read(r)
	if err != nil {
		return token.AccessChange{}, err
	}
	in := token.AccessChange{Name: body.line("name", maxBody)} // how long it may be is the domain's rule
	if words := body.list("permissions"); words != nil {
		in.Permissions = make([]token.Permission, len(words))
		for i, word := range words {
			in.Permissions[i] = token.Permission(permissionOf(word))
		}
	}
	if days := body.number("expiryDays"); days != nil {
		n := int(max(*days, 0)) // what is not positive is refused all the same
		if in.ExpiryDays = &n; *days > math.MaxInt32 {
			body.refuse("expiryDays", "must be a whole number")
		}
	}
	return in, body.wrong()
}

// inTokenWords says what is wrong with a token in the words of this wire.
func (d *Dialect) inTokenWords(err error) error {
	rules := d.Login.HTTPTokens
	switch {
	case errors.Is(err, token.ErrExpiryNotPositive):
		return invalid("expiryDays", "expiryDays must be positive.")
	case errors.Is(err, token.ErrExpiryRequired) && rules.MaxDays == 0:
		return invalid("expiryDays", token.ErrExpiryRequired.Text)
	case errors.Is(err, token.ErrExpiryRequired):
		return invalid("expiryDays", "An expiry of at most "+strconv.Itoa(rules.MaxDays)+" days is required.")
	case errors.Is(err, token.ErrExpiryLonger):
		return invalid("expiryDays", token.ErrExpiryLonger.Text)
	case errors.Is(err, token.ErrTooMany):
		return fault.Newf(fault.Invalid, "The maximum number of tokens (%d) has been reached.", rules.MaxPerScope)
	}
	fields := fault.FieldsOf(err)
	if len(fields) == 0 {
		return err
	}
	switch sent := fields[0].Value.(type) {
	case token.Permission:
		return invalid("permissions", "Unknown permission: "+strings.TrimPrefix(string(sent), unknownMark))
	case []token.Permission:
		return invalid("permissions", permissionWord(string(sent[0]))+" cannot be combined with "+permissionWord(string(sent[1]))+".")
	}
	return err
}
