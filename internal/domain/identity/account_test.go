package identity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// ledger keeps one account.
type ledger struct {
	identity.AccountStore
	one identity.Account
}

func (l *ledger) Change(_ context.Context, _ string, decide func(identity.Account) (identity.Account, error), _ audit.Event) (identity.Account, error) {
	is, err := decide(l.one)
	if err == nil {
		l.one = is
	}
	return is, err
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	rights := may{"account.update"}
	t.Run("shut_nobody_out_of_the_default_account", func(t *testing.T) {
		t.Parallel()
		l := &ledger{one: identity.Account{ID: identity.DefaultAccount}}
		s := &identity.Accounts{Store: l, Now: func() time.Time { return start }}
		if err := s.SetDisabled(t.Context(), rights, identity.DefaultAccount, true); !errors.Is(err, identity.ErrKeptEnabled) || l.one.Disabled {
			t.Errorf("%v, %+v", err, l.one)
		}
		if err := s.SetDisabled(t.Context(), may{}, identity.DefaultAccount, true); !fault.Is(err, fault.Denied) {
			t.Errorf("who may not: %v", err)
		}
		l.one.Disabled = true
		if err := s.SetDisabled(t.Context(), rights, identity.DefaultAccount, false); err != nil || l.one.Disabled {
			t.Errorf("one that is disabled already is let in again: %v", err)
		}
	})
	t.Run("shut_an_account_out_and_let_it_in_again", func(t *testing.T) {
		t.Parallel()
		l := &ledger{one: identity.Account{ID: "a1"}}
		s := &identity.Accounts{Store: l, Now: func() time.Time { return start }}
		for _, disabled := range []bool{true, false} {
			if err := s.SetDisabled(t.Context(), rights, "a1", disabled); err != nil || l.one.Disabled != disabled {
				t.Errorf("%v, %+v", err, l.one)
			}
		}
	})
}
