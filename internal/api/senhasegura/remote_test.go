package senhasegura_test

import (
	"context"

	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/domain/vault"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// remote is the service of sessions as the program has it, but for what carries them.
func (h *house) remote(credentials *vault.Service) *remote.Service {
	return &remote.Service{
		Access: h.rights, Users: people{h}, Devices: credentials.Devices, Vault: credentials, Now: h.clock.Now, NewID: newID, Settings: remote.Settings{RequireCredential: true},
	}
}

// people finds users as the program does.
type people struct{ *house }

// ForRemote implements remote.Users.
func (p people) ForRemote(ctx context.Context, nameOrID string) (remote.Person, error) {
	u, err := p.person(ctx, nameOrID)
	if fault.Is(err, fault.NotFound) {
		return remote.Person{}, remote.ErrNoUser
	}
	return remote.Person{User: u, Shut: u.Shut()}, err
}
