// Package test proves the promises of Gatehouse from outside: the real binary and the real clients.
package test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/gatehouse-project/gatehouse/test/gate"
)

// TestMain lets more tests run at a time than there are processors, unless -parallel says otherwise:
// most of their time they wait for clients, for time to pass and for each other's processes.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	if n := 4 * runtime.GOMAXPROCS(0); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // a number is always taken
	}
	go still.watch()
	os.Exit(gate.Main(m))
}
