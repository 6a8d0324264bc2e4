package outbound_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/outbound"
)

// rule W8: what an administrator names may lie inside, but not where clouds keep secrets of their machines.
func TestDialInside_reaches_own_networks_alone(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := policy(t).DialInside(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, address := range []string{
		"169.254.169.254:636", "[fe80::1%lo]:636", "[fd00:ec2::254]:636", "0.0.0.0:636", "100.64.0.1:636", "224.0.0.1:636", "[::ffff:169.254.169.254]:636", "[64:ff9b::a9fe:a9fe]:636",
	} {
		if _, err := policy(t).DialInside(ctx, "tcp", address); !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
