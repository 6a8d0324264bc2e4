package app_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
)

// Callers are told of the SSH door that really listens, and of the key that it shows.
func TestCallersLearnOfTheSSHDoor(t *testing.T) {
	t.Parallel()
	s, _, _ := serve(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/rest/ssh/latest/settings", s.HTTP), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", phrase)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var told struct {
		BaseURL     string
		Port        int
		Fingerprint struct{ Value string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		t.Fatal(err)
	}
	if _, port, _ := net.SplitHostPort(s.SSH.String()); fmt.Sprint(told.Port) != port || told.BaseURL != "ssh://localhost:"+port {
		t.Errorf("told %+v of the door at %s", told, s.SSH)
	}
	if !slices.Contains(s.HostKeys, "ssh-ed25519 SHA256:"+told.Fingerprint.Value) {
		t.Errorf("told %q of %q", told.Fingerprint.Value, s.HostKeys)
	}
}
