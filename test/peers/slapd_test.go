package peers_test

import (
	"testing"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

func TestSlapd_keeps_its_entries_over_a_restart(t *testing.T) {
	t.Parallel()
	d := peers.OwnSlapd(t)
	d.AddPerson(t, "frank")
	d.Stop(t)
	d.Start(t)
	d.Delete(t, d.DN("frank"))
	if len(d.CA) == 0 || d.URL() == d.PlainURL() {
		t.Errorf("no authority, or one address for both: %s", d.URL())
	}
}
