package main

import (
	"context"
	"strconv"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/app"
	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/project"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

type projectCommands struct {
	Add  projectAdd  `cmd:"" help:"Add a project."`
	List projectList `cmd:"" help:"List projects."`
	Set  projectSet  `cmd:"" help:"Change a project's settings."`

	Grant   projectGrant   `cmd:"" help:"Give a user or group a permission in a project."`
	Revoke  projectRevoke  `cmd:"" help:"Take a user's or group's permission in a project away."`
	Members projectMembers `cmd:"" help:"List who may what in a project."`
}

const seeProjects = "see `gatehouse project list`"

type projectAdd struct {
	Place
	Output
	Key  string `arg:"" help:"Short and unique; letters, digits and underscores."`
	Name string `required:"" placeholder:"N" help:"What people call it."`
}

// Run adds the project.
func (c *projectAdd) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		made, err := h.Projects.Create(ctx, by, project.New{Key: c.Key, Name: c.Name})
		if err != nil {
			return failed("add project "+c.Key, err, seeProjects)
		}
		if p.json {
			return p.printJSON(wireProject(made))
		}
		p.note("added project %s", made.Key)
		return nil
	})
}

type projectJSON struct {
	ID           string    `json:"id"`
	Key          string    `json:"key"`
	Name         string    `json:"name"`
	StrictStatus bool      `json:"strict_status"`
	RatePerHour  *int      `json:"rate_per_hour"` // null is the installation's default
	Created      time.Time `json:"created_at"`
}

func wireProject(p project.Project) projectJSON {
	return projectJSON{p.ID, p.Key, p.Name, p.StrictStatus, p.RatePerHour, p.Created.UTC()}
}

type projectList struct {
	Place
	Output
}

// Run lists the projects.
func (c *projectList) Run(ctx context.Context, p *process) error {
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		projects, err := every(func(w page.Window) (page.Page[project.Project], error) { return h.Projects.List(ctx, by, w) })
		if err != nil {
			return failed("list projects", err, seeProjects)
		}
		shown := make([]projectJSON, len(projects))
		for i, one := range projects {
			shown[i] = wireProject(one)
		}
		return print(p, shown, []string{"KEY", "NAME", "STRICT STATUS", "RATE PER HOUR", "CREATED", "ID"}, func(one projectJSON) []string {
			return []string{one.Key, one.Name, onOff(one.StrictStatus), rate(one.RatePerHour), moment(one.Created), one.ID}
		})
	})
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func rate(n *int) string {
	switch {
	case n == nil:
		return "default"
	case *n == 0:
		return "unlimited"
	default:
		return strconv.Itoa(*n)
	}
}

type projectSet struct {
	Place
	Output
	Key          string `arg:"" help:"Key of the project."`
	Name         string `placeholder:"N" help:"What people call it."`
	StrictStatus string `placeholder:"on|off" enum:",on,off" default:"" help:"Show expired verify sessions as failed"`
	RatePerHour  string `placeholder:"N|default" help:"API calls in an hour; 0 is unlimited."`
}

// Run changes what was given and keeps the rest.
func (c *projectSet) Run(ctx context.Context, p *process) error {
	if c.Name == "" && c.StrictStatus == "" && c.RatePerHour == "" {
		return usagef("set project %s: nothing to set; give --name, --strict-status or --rate-per-hour", c.Key)
	}
	limit, err := c.rate()
	if err != nil {
		return err
	}
	return p.withHouse(ctx, func(h *app.House, by access.Caller) error {
		is, err := h.Projects.ByKey(ctx, by, c.Key)
		if err != nil {
			return failed("set project "+c.Key, err, seeProjects)
		}
		is, err = h.Projects.Update(ctx, by, is.ID, c.change(is, limit))
		if err != nil {
			return failed("set project "+c.Key, err, seeProjects)
		}
		if p.json {
			return p.printJSON(wireProject(is))
		}
		p.note("project %s: strict status %s, rate per hour %s", is.Key, onOff(is.StrictStatus), rate(is.RatePerHour))
		return nil
	})
}

func (c *projectSet) rate() (*int, error) {
	if c.RatePerHour == "" || c.RatePerHour == "default" {
		return nil, nil
	}
	n, err := strconv.Atoi(c.RatePerHour)
	if err != nil || n < 0 {
		return nil, usagef("--rate-per-hour: %q is neither a number from 0 on nor \"default\"; correct it", c.RatePerHour)
	}
	return &n, nil
}

func (c *projectSet) change(is project.Project, limit *int) project.Change {
	var to project.Change
	if c.Name != "" {
		to.Name = &c.Name
	}
	if c.StrictStatus == "" && c.RatePerHour == "" {
		return to
	}
	settings := is.Settings
	if c.StrictStatus != "" {
		settings.StrictStatus = c.StrictStatus == "on"
	}
	if c.RatePerHour != "" {
		settings.RatePerHour = limit
	}
	to.Settings = &settings
	return to
}
