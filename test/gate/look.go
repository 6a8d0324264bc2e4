package gate

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers by which tests look into a gate's data
	_ "modernc.org/sqlite"

	"github.com/gatehouse-project/gatehouse/test/peers"
)

// Rows looks straight into the gate's database, read-only: tests check what was written, not what the
// API says was written.
func (g *Gate) Rows(tb testing.TB, query string, args ...any) [][]string {
	tb.Helper()
	rows, err := g.rows(query, args...)
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return rows
}

func (g *Gate) rows(query string, args ...any) (_ [][]string, err error) {
	driver, source := "sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(g.Data, "gatehouse.db"), RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}).String()
	if g.options.Database != "" {
		driver, source = "pgx", g.options.Database
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	found, err := db.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for found.Next() {
		cells, row := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			row[i] = &cells[i]
		}
		if err := found.Scan(row...); err != nil {
			return nil, err
		}
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = c.String
		}
		rows = append(rows, texts)
	}
	return rows, found.Err()
}

// Count is the one number that the query asks for.
func (g *Gate) Count(tb testing.TB, query string, args ...any) int {
	tb.Helper()
	n, err := strconv.Atoi(g.Rows(tb, query, args...)[0][0])
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// Audited is an event of the audit log as it is stored.
type Audited struct {
	At     time.Time
	Actor  struct{ Kind, ID, Name, Method string }
	Action string
	Object struct{ Kind, ID, Name string }

	Project, Outcome, Reason, Address, Door string
	Count                                   int
	Detail                                  map[string]string
}

// Audited returns the events of that action, oldest first; all events for "".
func (g *Gate) Audited(tb testing.TB, action string) []Audited {
	tb.Helper()
	var events []Audited
	for _, row := range g.Rows(tb, "SELECT body FROM audit_events ORDER BY id") {
		var e Audited
		if err := json.Unmarshal([]byte(row[0]), &e); err != nil {
			tb.Fatal(err)
		}
		if action == "" || e.Action == action {
			events = append(events, e)
		}
	}
	return events
}

// AwaitAudited waits for an event of that action whose reason holds the text, and returns it.
func (g *Gate) AwaitAudited(tb testing.TB, action, outcome, reason string) Audited {
	tb.Helper()
	var found Audited
	Eventually(tb, func() error {
		for _, e := range g.Audited(tb, action) {
			if e.Outcome == outcome && strings.Contains(e.Reason, reason) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("no event %s %s with reason %q", action, outcome, reason)
	})
	return found
}

// Metrics reads /metrics: each series, as it is written there, with its value.
func (g *Gate) Metrics(tb testing.TB) map[string]float64 {
	tb.Helper()
	series, err := g.metrics()
	if err != nil {
		tb.Fatal(err)
	}
	return series
}

func (g *Gate) metrics() (map[string]float64, error) {
	r, err := client.Get(g.URL + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	series := map[string]float64{}
	lines := bufio.NewScanner(&body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if ok {
			name += "}"
		} else if name, value, ok = strings.Cut(lines.Text(), " "); !ok {
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(name, "#") {
			series[name] = n
		}
	}
	if len(series) == 0 {
		return nil, fmt.Errorf("/metrics answered %d without a series", r.StatusCode)
	}
	return series, nil
}

// AwaitMetric waits until the series has a value that the check accepts.
func (g *Gate) AwaitMetric(tb testing.TB, name string, accept func(float64) bool) {
	tb.Helper()
	Eventually(tb, func() error {
		series, err := g.metrics()
		if err == nil && !accept(series[name]) {
			err = fmt.Errorf("%s is %v", name, series[name])
		}
		return err
	})
}

// Flags adds flags to the next Serve: later ones win over the usual ones.
func (g *Gate) Flags(flags ...string) { g.flags = append(g.flags, flags...) }

// Launch starts the server as Serve does, with another idea of when it is ready.
func (g *Gate) Launch(tb testing.TB, ready func() error) {
	tb.Helper()
	args := slices.Concat([]string{"serve"}, g.where(), g.flags, g.options.Flags)
	cmd := exec.Command(g.binary, args...)
	cmd.Env = g.environment()
	g.process = peers.Start(tb, cmd)
	peers.Await(tb, g.process, ready)
}
