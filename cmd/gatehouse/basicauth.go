package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/policy"
)

type basicCommands struct {
	Show basicShow `cmd:"" help:"Show whose passwords are taken by HTTP Basic."`
	Set  basicSet  `cmd:"" help:"Shut Basic, open it, or let some through."`
}

type basicJSON struct {
	Block   bool       `json:"block"`
	Paths   []string   `json:"allowed_paths"`
	Users   []string   `json:"allowed_users"`
	Warn    bool       `json:"warn"`
	Scope   string     `json:"scope"` // from the configuration
	Updated *time.Time `json:"updated_at"`
}

func wireBasic(is policy.Basic, scope string) basicJSON {
	return basicJSON{is.Block, append([]string{}, is.Paths...), append([]string{}, is.Users...), is.Warn, scope, optionalTime(is.Updated)}
}

// showBasic prints a policy.
func (p *process) showBasic(h *app.House, is policy.Basic) error {
	shown := wireBasic(is, h.Config.Auth.BasicScope)
	if p.json {
		return p.printJSON(shown)
	}
	where := map[string]string{"rest": "below /rest (basicauth.scope)", "all": "at every door (basicauth.scope)"}[shown.Scope]
	fmt.Fprintf(p.out, "block          %s, %s\n", onOff(shown.Block), where)
	fmt.Fprintf(p.out, "allowed paths  %s\n", clean(names(shown.Paths)))
	fmt.Fprintf(p.out, "allowed users  %s\n", clean(names(shown.Users)))
	fmt.Fprintf(p.out, "warn           %s\n", onOff(shown.Warn))
	if shown.Updated == nil {
		p.note("nobody has changed it yet: the setting basicauth.block holds")
	}
	return nil
}

type basicShow struct {
	Place
	Output
}

// Run shows the policy.
func (c *basicShow) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		is, err := h.Policies.ReadBasic(ctx, by)
		if err != nil {
			return failed("read who may use Basic", err, trySSO)
		}
		return p.showBasic(h, is)
	})
}

type basicSet struct {
	Place
	Output
	Block      string   `placeholder:"on|off" enum:",on,off" default:"" help:"Whether passwords sent by HTTP Basic are refused."`
	AllowPath  []string `sep:"none" placeholder:"PATTERN" help:"Take them at these paths all the same; * is any run of characters."`
	AllowUser  []string `sep:"none" placeholder:"PATTERN" help:"Take them from these people all the same; * is any run of characters."`
	ClearPaths bool     `help:"Forget the paths that were allowed before."`
	ClearUsers bool     `help:"Forget the people who were allowed before."`
	Warn       string   `placeholder:"on|off" enum:",on,off" default:"" help:"Whether answers to who sends a password by Basic warn that this may end."`
}

// Run changes what was given and keeps the rest. What is allowed is added to what was.
func (c *basicSet) Run(ctx context.Context, p *process) error {
	if c.Block == "" && c.Warn == "" && len(c.AllowPath)+len(c.AllowUser) == 0 && !c.ClearPaths && !c.ClearUsers {
		return usagef("set Basic: nothing to set; see `gatehouse basic-auth set --help`")
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		is, err := h.Policies.ChangeBasic(ctx, by, func(is policy.Basic) (policy.Basic, error) {
			if c.Block != "" {
				is.Block = c.Block == "on"
			}
			if c.Warn != "" {
				is.Warn = c.Warn == "on"
			}
			is.Paths = allow(is.Paths, c.ClearPaths, c.AllowPath)
			is.Users = allow(is.Users, c.ClearUsers, c.AllowUser)
			return is, nil
		})
		if err != nil {
			return failed("set Basic", err, trySSO)
		}
		return p.showBasic(h, is)
	})
}

// allow adds what is not there yet, behind what was there unless that is forgotten.
func allow(was []string, forget bool, more []string) []string {
	var out []string
	if !forget {
		out = slices.Clone(was)
	}
	for _, pattern := range more {
		if !slices.Contains(out, pattern) {
			out = append(out, pattern)
		}
	}
	return out
}
