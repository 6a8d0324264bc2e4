package login_test

import (
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// A second factor for something that is no sign-in: a code counts once, and wrong ones shut the name out as failed sign-ins do (rules F4 and F7).
func TestStepUp(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	app, _ := c.enrol(t, "dana")
	in := c.enter(t, "dana", app, login.Begin{})
	visitor := access.Caller{Principal: in.Caller.Principal, Method: "link", Address: in.Caller.Address, Door: "remote"}
	if can, err := c.CanStepUp(ctx, visitor.ID); err != nil || !can {
		t.Errorf("%v, %v", can, err)
	}
	code := c.codeOf(app, 0)
	want(t, c.StepUp(ctx, visitor, code), nil)
	want(t, c.StepUp(ctx, visitor, code), factor.ErrWrongCode)
	if c.failures("dana") != 1 {
		t.Errorf("%d failures", c.failures("dana"))
	}
	c.pass(time.Minute)
	want(t, c.StepUp(ctx, visitor, c.codeOf(app, 0)), nil)
	if c.failures("dana") != 0 {
		t.Errorf("a right one leaves %d failures", c.failures("dana"))
	}
	var err error
	for range 20 {
		if err = c.StepUp(ctx, visitor, secret.New("AAAAA-AAAAA-AAAAA-AAAAA")); err == nil {
			t.Fatal("a recovery code of nobody")
		}
	}
	want(t, err, login.ErrTooManyCodes)
	want(t, c.StepUp(ctx, visitor, c.codeOf(app, 1)), login.ErrTooManyCodes)
	want(t, c.opens(in.Token), nil) // it is about no session of theirs
}

func TestStepUp_without_a_factor(t *testing.T) {
	t.Parallel()
	c, ctx := newClub(), t.Context()
	in := c.knock(t, "dana", login.Begin{})
	if can, err := c.CanStepUp(ctx, in.Caller.ID); err != nil || can {
		t.Errorf("%v, %v", can, err)
	}
	want(t, c.StepUp(ctx, in.Caller, secret.New("123456")), login.ErrMethodUnavailable)
}
