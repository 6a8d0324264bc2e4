// Command bench measures Gatehouse next to its peers and writes bench/RESULTS.md.
//
//	go run ./bench [-only verify,list,...] [-quick] [-profile DIR]
//
// Absolute figures say more about a machine and its load than about a program. So every benchmark runs
// in one go with what it is compared with, in turns (A B A B ...), and what counts is the ratio and the
// CPU time per operation of the server's process alone, as the kernel accounts for it. Load generators,
// servers and databases are processes of their own on 127.0.0.1.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-project/gatehouse/bench/bare"
	"github.com/gatehouse-project/gatehouse/bench/load"
)

// benchmark is one thing that is measured.
type benchmark struct {
	name    string
	about   string
	measure func(*run) section
}

var benchmarks = []benchmark{
	{"whole", "binary size, start and idle memory", measureWhole},
	{"verify", "key verifications over SSH, next to sshd and a bare server", measureVerify},
	{"idle", "memory of idle SSH connections", measureIdle},
	{"apikey", "checking an API key", measureAPIKey},
	{"signin", "passwords, secrets and codes that are signed in with", measureSignIn},
	{"session", "checking a session, and how soon its end is known", measureSession},
	{"token", "checking an HTTP access token", measureToken},
	{"sshkey", "looking an SSH key up among a million", measureSSHKey},
	{"clone", "clones of a large repository, next to sshd and git's http-backend", measureClone},
	{"fetch", "many fetches at the same moment", measureFetch},
	{"list", "pages of a long list", measureList},
	{"webhooks", "webhook deliveries, and none lost over kill -9", measureWebhooks},
	{"recorded", "recorded SSH sessions: memory and CPU of hundreds at a time", measureRecorded},
	{"keystroke", "what the gate adds to the echo of a keystroke", measureKeystroke},
	{"relay", "files, forwards and output through the gate, next to a plain Go relay", measureRelay},
	{"launch", "from a link to the first prompt", measureLaunch},
	{"audit", "what the sealed audit log adds to a write", measureAudit},
}

// modes are what this program does as another process of a benchmark.
var modes = map[string]func() error{
	"bare-ssh":       bare.Serve,
	"bare-argon2":    func() error { return load.Serve(bare.Hash) },
	"load-login":     func() error { return load.Serve(load.Login) },
	"load-idle":      func() error { return load.Serve(load.Hold) },
	"load-request":   func() error { return load.Serve(load.Request) },
	"load-receive":   load.Receive,
	"load-terminate": func() error { return load.Serve(load.Terminate) },
	"bare-git":       bare.ServeGit,
	"load-fetch":     func() error { return load.Serve(load.Fetch) },
	"find-keys":      func() error { return load.Serve(findKeys) },
	"bare-terminal":  bare.ServeTerminal,
	"bare-relay":     bare.ServeRelay,
	"bare-bytes":     bare.ServeBytes,
	"load-terminals": func() error { return load.Serve(load.Type) },
	"load-keystroke": func() error { return load.Serve(load.Keystroke) },
	"load-transfer":  func() error { return load.Serve(load.Carry) },
	"load-launch":    func() error { return load.Serve(load.Launch) },
	"audit-writes":   func() error { return load.Serve(writeSessions) },
}

func main() {
	if len(os.Args) == 2 && modes[os.Args[1]] != nil {
		if err := modes[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(measure())
}

func measure() int {
	only := flag.String("only", "", "benchmarks to run, separated by commas: "+strings.Join(names(), ", "))
	quick := flag.Bool("quick", false, "one short round of each, to see that it works; figures mean little and are not written")
	rounds := flag.Int("rounds", 3, "rounds of each comparison")
	lasting := flag.Duration("time", 5*time.Second, "length of a round")
	binary := flag.String("binary", "", "a gatehouse to measure, instead of one built from this tree")
	profile := flag.String("profile", "", "directory for CPU profiles of the servers, taken with perf")
	flag.Parse()
	r := &run{rounds: *rounds, lasting: *lasting, profile: *profile, binary: *binary}
	if *quick {
		r.rounds, r.lasting, r.quick = 1, 2*time.Second, true
	}
	chosen, err := choose(*only)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench:", err, flag.Args())
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		r.interrupted.Store(true)
	}()
	return r.all(chosen)
}

func names() []string {
	all := make([]string, len(benchmarks))
	for i, b := range benchmarks {
		all[i] = b.name
	}
	return all
}

func choose(only string) ([]benchmark, error) {
	if only == "" {
		return benchmarks, nil
	}
	var chosen []benchmark
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(benchmarks, func(b benchmark) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no benchmark %q; there are %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, benchmarks[i])
	}
	return chosen, nil
}
