package senhasegura

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// wireToken is a token as RFC 6749 section 5.1 has it: without the envelope.
type wireToken struct {
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	AccessToken string `json:"access_token"`
}

// wireTokenError is an error as RFC 6749 section 5.2 has it, and as the envelope has it, for those who read that.
type wireTokenError struct {
	Error       string       `json:"error"`
	Description string       `json:"error_description"`
	Message     string       `json:"message"`
	Response    wireResponse `json:"response"`
}

// The refusals that only this call has.
var (
	errNoGrantType    = said(http.StatusBadRequest, "The grant_type is missing.")
	errOtherGrantType = said(http.StatusBadRequest, "The grant_type is not supported.")
)

// token gives a client a token for its secret. A bearer that comes along, of whatever age, is not looked at.
func (d *Dialect) token(w http.ResponseWriter, c *call) error {
	body, err := read(c.Request)
	if err != nil {
		return d.noToken(w, c, err)
	}
	p, err := d.client(c, body)
	if err != nil {
		return d.noToken(w, c, err)
	}
	if err := grantType(body); err != nil {
		a, failed := d.Login.ProveClient(c.Context(), p) // who is calling comes first
		if c.from = a; failed != nil {
			err = failed
		}
		return d.noToken(w, c, err)
	}
	issued, err := d.Login.IssueToken(c.Context(), p)
	if c.from = issued.Authorization; err != nil {
		return d.noToken(w, c, err)
	}
	return api.WriteJSON(w, http.StatusOK, wireToken{"Bearer", int(issued.Life.Seconds()), issued.Token.Reveal()})
}

func grantType(body *fields) error {
	switch body.text("grant_type") {
	case "client_credentials":
		return body.wrong()
	case "":
		return errNoGrantType
	}
	return errOtherGrantType
}

// client reads who is calling: in the body, by Basic, or in both where they agree.
func (d *Dialect) client(c *call, body *fields) (login.Presented, error) {
	p := presented(c.Request)
	id, plain, tenant := body.text("client_id"), body.text("client_secret"), body.text("tenant")
	if err := body.wrong(); err != nil {
		return p, err
	}
	p.Name, p.Secret = strings.ToLower(strings.TrimSpace(id)), secret.New(plain)
	if sent, ok := credentials(c.Header.Values("Authorization"), "Basic"); ok {
		name, password, ok := unpack(sent)
		if !ok || id != "" && p.Name != name || plain != "" && plain != password {
			name, password = "", ""
		}
		p.Name, p.Secret = name, secret.New(password)
	}
	if tenant != "" && tenant != d.Tenant {
		p.Secret = secret.String{} // refused as everything else is that opens nothing
	}
	return p, nil
}

// unpack decodes Basic: either alphabet of base64, padded or not, split at the first colon, both parts form-encoded by some clients
// (RFC 6749 section 2.3.1): ours are hexadecimal, which that leaves as it is.
func unpack(sent string) (name, password string, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(sent, "=")))
	if err != nil || !utf8.Valid(plain) {
		return "", "", false
	}
	name, password, ok = strings.Cut(string(plain), ":")
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	return strings.ToLower(name), password, ok
}

// noToken answers in the form of RFC 6749 what that has a word for; the rest as every call does.
func (d *Dialect) noToken(w http.ResponseWriter, c *call, err error) error {
	word := ""
	f := answerTo(err)
	switch {
	case f == errClient:
		word = "invalid_client"
	case f == errOtherGrantType:
		word = "unsupported_grant_type"
	case f == errNoGrantType, f == errMalformed:
		word = "invalid_request"
	case f == errTooMany && (errors.Is(err, login.ErrBlocked) || errors.Is(err, identity.ErrTooManyTokens)):
		word = "temporarily_unavailable"
	default:
		return err
	}
	c.refused = d.judge(w, c.Request, err)
	return api.WriteJSON(w, f.status, wireTokenError{word, f.text, f.text, response(f)})
}
