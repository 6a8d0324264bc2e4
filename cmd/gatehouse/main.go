// Package main is the command gatehouse: flags, signals and exit codes around package app.
//
// A command reads its flags into a struct, opens the house, calls one verb of the domain as the local
// caller, and prints. Standard output holds what was asked for: a table, JSON with --json, or a secret
// alone. Everything else goes to standard error. The exit code is 0 when it was done, 1 when it failed
// and 2 when the command line was wrong; an error is one line that says what, why and what to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/gatehouse-project/gatehouse/internal/config"
)

// version is set by the build.
var version = "unknown"

func main() {
	p := &process{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(), name: os.Args[0], now: time.Now}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}

// process is what a command has of the world around it.
type process struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	name     string // how the program was called
	now      func() time.Time

	flags map[string]string // settings that were given as flags, by the name of the flag
	json  bool
}

// commands is the grammar of the command line.
type commands struct {
	Serve   serveCommand   `cmd:"" group:"Run" help:"Run the server."`
	Demo    demoCommand    `cmd:"" group:"Run" help:"Prove an SSH key and open a recorded session in two minutes, on throwaway data."`
	Migrate migrateCommand `cmd:"" group:"Run" help:"Bring the database to this program's version."`

	User      userCommands      `cmd:"" group:"Manage" help:"People who can sign in."`
	Group     groupCommands     `cmd:"" group:"Manage" help:"Sets of people who hold roles together."`
	App       appCommands       `cmd:"" name:"app" group:"Manage" help:"Programs that sign in with a secret of their own."`
	Authz     authzCommands     `cmd:"" name:"authorization" group:"Manage" help:"What applications may do by the API of remote sessions."`
	Device    deviceCommands    `cmd:"" group:"Manage" help:"Targets of remote sessions, and the host keys by which they are known."`
	Cred      credCommands      `cmd:"" name:"credential" group:"Manage" help:"What opens devices: sealed, and lent to sessions unseen."`
	Session   sessionCommands   `cmd:"" group:"Manage" help:"Who is signed in."`
	Grant     grantCommands     `cmd:"" group:"Manage" help:"Who may open remote sessions, where, when, and after what."`
	Request   requestCommands   `cmd:"" group:"Manage" help:"Requests of people whose grants ask for approval."`
	Remote    remoteCommands    `cmd:"" group:"Manage" help:"Remote sessions: list and end."`
	IDP       idpCommands       `cmd:"" name:"idp" group:"Manage" help:"Directories and identity providers where people sign in."`
	SSO       ssoCommands       `cmd:"" name:"sso" group:"Manage" help:"What the sign-in page offers; the way back in when a provider is down."`
	Basic     basicCommands     `cmd:"" name:"basic-auth" group:"Manage" help:"Who may still send a password by HTTP Basic."`
	Project   projectCommands   `cmd:"" group:"Manage" help:"What API keys and proofs belong to."`
	Repo      repoCommands      `cmd:"" group:"Manage" help:"Git repositories, who may what in them, and who pushed what."`
	Token     tokenCommands     `cmd:"" group:"Manage" help:"HTTP access tokens of people, projects and repositories."`
	Key       keyCommands       `cmd:"" group:"Manage" help:"SSH keys of people."`
	AccessKey accessKeyCommands `cmd:"" name:"access-key" group:"Manage" help:"SSH keys that open projects and repositories."`
	APIKey    apikeyCommands    `cmd:"" name:"apikey" group:"Manage" help:"Keys with which programs call the API."`

	Recording recordingCommands `cmd:"" group:"Look" help:"What happened in remote sessions: list, verify, export, keep."`

	Access  accessCommands  `cmd:"" group:"Look" help:"Who may do what, and why."`
	Webhook webhookCommands `cmd:"" group:"Look" help:"Webhooks of the installation; deliveries of events: list, look into, send again."`
	Audit   auditCommands   `cmd:"" group:"Look" help:"What happened, and whether the record of it is whole."`
	Version versionCommand  `cmd:"" group:"Look" help:"Print the version."`
}

// Place says where the data is. Every command that works on data has it.
type Place struct {
	Config        string `help:"Read settings from a YAML file." placeholder:"FILE"`
	Data          string `help:"${data}" placeholder:"DIR"`
	Database      string `help:"${database}" placeholder:"URL"`
	MasterKeyFile string `help:"${master_key_file}" placeholder:"FILE"`
}

// Output says how a command prints.
type Output struct {
	JSON bool `name:"json" help:"Print JSON for programs."`
}

// exit ends the parser where it would end the process: after it printed help.
type exit int

// run parses the command line and runs the command. It returns the exit code.
func (p *process) run(ctx context.Context, args []string) (code int) {
	defer func() {
		switch ended := recover().(type) {
		case nil:
		case exit:
			code = int(ended)
		default:
			panic(ended)
		}
	}()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("gatehouse"), kong.Writers(p.out, p.err), kong.Exit(func(code int) { panic(exit(code)) }),
		kong.Help(help), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.PostBuild(settingHelp), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(p),
	)
	if err != nil {
		return p.report(fmt.Errorf("read command line: %w", err))
	}
	if len(args) == 0 {
		overview(p.out, parser.Model.Node)
		return 0
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return p.report(wrongUsage(err))
	}
	p.take(parsed)
	return p.report(parsed.Run())
}

// take notes which settings were given as flags.
func (p *process) take(parsed *kong.Context) {
	p.flags = map[string]string{}
	settings := map[string]bool{"config": true}
	for _, s := range config.Settings() {
		settings[s.Flag] = true
	}
	for _, f := range parsed.Flags() {
		switch {
		case f.Name == "json":
			p.json = f.Target.Bool()
		case f.Set && settings[f.Name]:
			p.flags[f.Name] = f.Target.String()
		}
	}
}

// load reads the configuration. A mistake in it is wrong usage, wherever it stands.
func (p *process) load() (config.Config, error) {
	flags := maps.Clone(p.flags)
	file := flags["config"]
	delete(flags, "config")
	c, err := config.Load(flags, p.env, file)
	if err != nil {
		return c, &usageError{err}
	}
	return c, nil
}

// settingHelp gives flags of settings the text that the reference has, with the default: `${http}` is that of the setting http. As variables of the parser
// they would all be looked through for each flag of each command.
func settingHelp(k *kong.Kong) error {
	docs := map[string]string{}
	for _, s := range config.Settings() {
		doc := strings.ReplaceAll(s.Doc, "`", "")
		if s.Default != "" {
			doc = strings.TrimSuffix(doc, ".") + " (" + s.Default + ")."
		}
		docs["${"+strings.ReplaceAll(s.Name, ".", "_")+"}"] = strings.ReplaceAll(doc, "$", "$$")
	}
	describe(k.Model.Node, docs)
	return nil
}

// describe sets the help of a command's flags, and of those below it.
func describe(n *kong.Node, docs map[string]string) {
	for _, f := range n.Flags {
		if doc, ok := docs[f.Help]; ok {
			f.Help = doc
		}
	}
	for _, child := range n.Children {
		describe(child, docs)
	}
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef is a usageError with a text of its own.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// wrongUsage says where help is, for the command that was meant. That a flag was not given is the empty value to the parser, and nothing to offer to people.
func wrongUsage(err error) error {
	command := "gatehouse"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		for _, step := range parse.Context.Path {
			if step.Command != nil {
				command += " " + step.Command.Name
			}
		}
	}
	return usagef("%s; see `%s --help`", strings.Replace(err.Error(), `must be one of "",`, "must be one of ", 1), command)
}

// report prints an error, one line for each mistake, and returns the exit code.
func (p *process) report(err error) int {
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(p.err, "gatehouse: "+clean(line))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// help prints the overview for the program and the usual page for a command.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if !slices.ContainsFunc(ctx.Path, func(step *kong.Path) bool { return step.Command != nil }) {
		overview(ctx.Stdout, ctx.Model.Node)
		return nil
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

// overview prints what the program can do, in groups.
func overview(w io.Writer, root *kong.Node) {
	fmt.Fprintln(w, "Gatehouse is one gate for people, programs and keys.")
	fmt.Fprintln(w, "\nNew here?  gatehouse demo")
	group := ""
	for _, command := range root.Children {
		if command.Group.Title != group {
			group = command.Group.Title
			fmt.Fprintf(w, "\n%s\n", group)
		}
		fmt.Fprintf(w, "  %-15s%s\n", command.Name, command.Help)
		if verbs := verbsOf(command); verbs != "" {
			fmt.Fprintf(w, "  %-15s  %s\n", "", verbs)
		}
	}
	fmt.Fprint(w, "\nMore about one of them: gatehouse COMMAND --help\n")
}

func verbsOf(command *kong.Node) string {
	var verbs []string
	for _, verb := range command.Children {
		if !slices.Contains(verbs, verb.Name) {
			verbs = append(verbs, verb.Name)
		}
	}
	return strings.Join(verbs, ", ")
}
