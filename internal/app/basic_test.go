package app_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/config"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/login"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// book is a log that a test reads.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.text.String()), "\n")
}

// The setting decides until an administrator does; what an administrator changes holds here at once, and elsewhere within two seconds. Who is warned of stands in the
// log once a minute, without the password.
func TestBasic_by_setting_and_by_policy(t *testing.T) {
	t.Parallel()
	c, err := config.Load(map[string]string{"data": t.TempDir() + "/data"}, []string{"GATEHOUSE_ADMIN_PASSWORD=" + phrase, "GATEHOUSE_BASICAUTH_BLOCK=true"}, "")
	if err != nil {
		t.Fatal(err)
	}
	turned, written := &clock{now: time.Now()}, &book{}
	options := app.Options{Version: "test", Log: slog.New(slog.NewTextHandler(written, nil)), Now: turned.Now}
	here, err := app.Migrate(t.Context(), c, options)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := app.Open(t.Context(), c, options)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if _, err := here.Users.EnsureFirst(t.Context(), secret.New(phrase)); err != nil {
		t.Fatal(err)
	}

	try := func(h *app.House, path string, want error) {
		t.Helper()
		_, err := h.Login.Authenticate(t.Context(), login.Presented{
			Kind: login.Password, Name: "Admin", Secret: secret.New(phrase), Address: from, Door: "test", Accepts: []login.Kind{login.Password}, Basic: login.BasicREST, Path: path,
		})
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	rule := func(decide func(is *policy.Basic)) {
		t.Helper()
		_, err := here.Policies.ChangeBasic(t.Context(), access.LocalCaller("test", turned.Now()), func(is policy.Basic) (policy.Basic, error) { decide(&is); return is, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	try(here, "/rest/a", login.ErrBasicBlocked)
	try(there, "/rest/a", login.ErrBasicBlocked)
	rule(func(is *policy.Basic) { is.Paths, is.Warn = []string{"/rest/a"}, true })
	try(here, "/rest/a", nil)
	try(here, "/rest/b", login.ErrBasicBlocked)
	turned.turn(2 * time.Second)
	try(there, "/rest/a", nil)

	rule(func(is *policy.Basic) { is.Block = false })
	for range 3 {
		try(here, "/rest/b", nil)
	}
	turned.turn(time.Minute)
	try(here, "/rest/b", nil)
	said := written.lines()
	if len(said) != 3 { // one of each process, and one a minute later
		t.Errorf("%d lines: %q", len(said), said)
	}
	for _, line := range said {
		if !strings.Contains(line, `level=INFO msg="password by HTTP Basic" name=admin remote=192.0.2.1 door=test`) || strings.Contains(line, phrase) {
			t.Error(line)
		}
	}
}
