package senhasegura

import (
	"net/http"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// Which credential opens which door; everything else is refused unread (rule W6):
//
//	oauth2/token      client id and client secret: in the body, or by Basic
//	everything else   a token that oauth2/token gave, by Bearer

// admit finds out whose call it is, and whether it has what the route takes.
func (d *Dialect) admit(c *call) error {
	sent := c.Header.Values("Authorization")
	if len(sent) == 0 {
		return errNoHeader
	}
	p := presented(c.Request)
	p.Kind, p.Accepts = login.AuthorizationToken, []login.Kind{login.AuthorizationToken}
	if plain, ok := credentials(sent, "Bearer"); ok {
		p.Secret = secret.New(plain)
	}
	var err error
	if c.by, c.from, err = d.Login.ByAuthorization(c.Context(), p); err != nil {
		return err
	}
	if err := c.from.May(c.route.resource, c.route.writes); err != nil {
		return d.Login.DenyAuthorization(c.Context(), c.by, err)
	}
	return nil
}

// presented is what every credential at this door comes with.
func presented(r *http.Request) login.Presented {
	return login.Presented{Address: api.Remote(r.Context()), Door: Name, Request: api.RequestID(r.Context()), Referrer: r.Referer()}
}

// credentials returns what follows a scheme. Two headers are none: whatever stands before us may have looked at the other one.
func credentials(sent []string, scheme string) (string, bool) {
	if len(sent) != 1 {
		return "", false
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(sent[0]), " ")
	return strings.TrimLeft(rest, " "), strings.EqualFold(word, scheme)
}
