package app

import (
	"context"
	"net/http"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
	"github.com/gatehouse-project/gatehouse/internal/outbound"
	"github.com/gatehouse-project/gatehouse/internal/store"
)

// KnownHosts returns the lines by which an SSH client knows the host keys of this server at an address.
func (s *Server) KnownHosts(ctx context.Context, address string) ([]string, error) {
	keys, err := sshkey.OpenHostKeys(ctx, store.HostKeys{DB: s.DB}, s.Sealer, s.Now())
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(keys))
	for i, k := range keys {
		lines[i] = knownhosts.Line([]string{address}, k.PublicKey())
	}
	return lines, nil
}

// Client makes HTTP requests.
type Client interface {
	Do(r *http.Request) (*http.Response, error)
}

// LoopbackClient returns a client for a server on this very machine: the demo calls its own API with it.
func LoopbackClient() Client {
	policy, err := outbound.NewPolicy([]string{"127.0.0.0/8", "::1"})
	if err != nil {
		panic(err) // the list is a constant
	}
	return policy.Client()
}
