package fortanix

import "net/http"

// wireWay is one way to sign in, as discover lists it.
type wireWay struct {
	Method string `json:"method"`
}

// discover lists the ways to sign in. It asks nobody and knows nobody: the list is the same for every e-mail address
// and account, existing or not (rule F6).
func (d *Dialect) discover(w http.ResponseWriter, r *http.Request) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	account := r.URL.Query().Get("acct_id")
	if _, ok := wireUUID(account); account != "" && !ok {
		return invalid("acct_id")
	}
	if body.optional("user_email"); body.wrong() != nil && account == "" {
		return body.wrong()
	}
	return reply(w, []wireWay{{"password"}})
}
