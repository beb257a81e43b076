package main

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// program is one run of the command.
type program struct {
	surroundings
	flags struct {
		config    string
		verbose   bool
		logFormat string
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
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("which command? `%s --help` lists them", cmd.CommandPath())}
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
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments of every command usage errors.
func usageArgs(cmd *cobra.Command) {
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

// logger writes to stderr, which is the person's; stdout belongs to the protocol or the page.
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
