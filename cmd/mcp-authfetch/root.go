package main

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// program is one run of the command.
type program struct {
	surroundings
	log   *slog.Logger // to stderr, which is the person's; stdout belongs to the protocol or the page
	flags struct {
		config    string
		verbose   bool
		logFormat string
		paste     bool // of login: no browser here is the person's
	}
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mcp-authfetch",
		Short: "An MCP server that fetches pages behind logins and client certificates",
		Long: "An MCP server whose webfetch tool gets a URL even when it sits behind an OAuth login\n" +
			"or demands a client certificate. Agents start it with `mcp-authfetch stdio`.",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			p.log, err = p.logger()
			return err
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&p.flags.config, "config", "", "the config `file` (default $AUTHFETCH_CONFIG, else mcp-authfetch/config.jsonc in your config directory)")
	f.BoolVarP(&p.flags.verbose, "verbose", "v", false, "log what happens to stderr")
	f.StringVar(&p.flags.logFormat, "log-format", "text", "how to log: text or json")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		p.stdioCommand(), p.httpCommand(), p.fetchCommand(), p.loginCommand(), p.logoutCommand(),
		p.accountsCommand(), p.doctorCommand(), p.configCommand(), p.demoCommand(), p.versionCommand(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments of every command usage errors, and a missing or unknown subcommand too.
func usageArgs(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args = noSuchCommand
		cmd.RunE = func(*cobra.Command, []string) error { return &usageError{errors.New("which command?")} }
	}
	if cmd.Name() == "help" {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			return noSuchCommand(about, rest)
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// noSuchCommand refuses args, which cmd has no subcommand for.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %s for %q", sanitize.Quote(args[0]), cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}

func (p *program) logger() (*slog.Logger, error) {
	level := slog.LevelWarn
	if p.flags.verbose {
		level = slog.LevelDebug
	}
	opts := &slog.HandlerOptions{Level: level}
	switch p.flags.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(p.stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(p.stderr, opts)), nil
	}
	return nil, &usageError{fmt.Errorf("--log-format is %q, not text or json", p.flags.logFormat)}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.stdout, "mcp-authfetch", version())
			return err
		},
	}
}

// version is the module's, or that of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = "-" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return "devel" + revision + dirty
}
