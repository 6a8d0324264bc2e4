package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/internal/page"
	"github.com/gatehouse-project/gatehouse/internal/secret"
)

// withHouse opens the data for one command and closes it behind work. The server may be running.
func (p *process) withHouse(ctx context.Context, work func(h *app.House, by access.Caller) error) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := app.Open(ctx, c, app.Options{Version: version, Log: log})
	if err != nil {
		return failed("open data", err, "check --data and --database")
	}
	defer h.Close()
	return work(h, access.LocalCaller(osUser(), h.Now()))
}

// osUser names who sits at this command line, for the audit log.
func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// failed makes the one line of an error: what was wanted, why not, and what to do. missing is the advice
// where something was not found; an error that gives advice itself keeps it.
func failed(what string, err error, missing string) error {
	if strings.Contains(err.Error(), "; ") {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w; %s", what, err, advice(err, missing))
}

func advice(err error, missing string) string {
	switch fault.KindOf(err) {
	case fault.Internal, fault.NotFound:
		return missing
	case fault.Invalid:
		return "correct it and run the command again"
	case fault.Conflict:
		return "look at what is there first"
	default:
		return "try again in a moment"
	}
}

// limited refuses a --limit that lists nothing.
func limited(most int64) error {
	if most < 1 {
		return usagef("--limit: %d is no number from 1 on; correct it", most)
	}
	return nil
}

// every reads a listing to its end, page by page.
func every[T any](read func(page.Window) (page.Page[T], error)) ([]T, error) {
	return upTo(math.MaxInt64, read)
}

// upTo reads the first so many of a listing, page by page.
func upTo[T any](most int64, read func(page.Window) (page.Page[T], error)) (all []T, err error) {
	for more := true; more && int64(len(all)) < most; {
		part, err := read(page.Of(int64(len(all)), min(most-int64(len(all)), page.MaxLimit)))
		if err != nil {
			return nil, err
		}
		all, more = append(all, part.Items...), part.HasMore() && len(part.Items) > 0
	}
	return all, nil
}

// readPassword reads a password from standard input: a hidden answer on a terminal, else all of the input
// less the end of its line.
func (p *process) readPassword() (secret.String, error) {
	if f, ok := p.in.(*os.File); ok && term.IsTerminal(fd(f)) {
		fmt.Fprint(p.err, "Password: ")
		text, err := term.ReadPassword(fd(f))
		fmt.Fprintln(p.err)
		return secret.New(string(text)), err
	}
	text, err := io.ReadAll(io.LimitReader(p.in, secret.MaxPassword+3)) // its line end, and one byte more to be refused for
	if err != nil {
		return secret.String{}, fmt.Errorf("read password from standard input: %w", err)
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if strings.ContainsAny(line, "\r\n") {
		return secret.String{}, usagef("read password: standard input has more than one line; give the password alone")
	}
	return secret.New(line), nil
}
