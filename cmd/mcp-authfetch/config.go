package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show, check or create the config file"}
	cmd.AddCommand(
		&cobra.Command{Use: "path", Short: "Print where the config file is, or would be", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return p.printConfigPath() }},
		&cobra.Command{Use: "check", Short: "Check the config file and the files it names", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return p.checkConfig(cmd.Context()) }},
		&cobra.Command{Use: "schema", Short: "Print the JSON Schema of the config, for editors", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { _, err := p.stdout.Write(config.Schema()); return err }},
		&cobra.Command{Use: "client-metadata", Short: "Print the client metadata document to serve at login.client_metadata_url", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return p.printClientMetadata() }},
		&cobra.Command{Use: "tls", Short: "Print what can go wrong with certificates and TLS, and what to do, as Markdown", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprint(p.stdout, tlsfault.Table())
				return err
			}},
		&cobra.Command{Use: "issuers", Short: "Print what is particular about well-known issuers, as Markdown", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { _, err := io.WriteString(p.stdout, knownIssuers()); return err }},
		&cobra.Command{Use: "init", Short: "Create a commented config file to start from", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return p.initConfig() }},
	)
	return cmd
}

func (p *program) printConfigPath() error {
	path, _ := p.configPath()
	if path == "" {
		return &usageError{errors.New("there is no config directory; use --config")}
	}
	_, err := fmt.Fprintln(p.stdout, path)
	return err
}

func (p *program) printClientMetadata() error {
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	at := cfg.Login.ClientMetadataURL
	if at == "" {
		return &usageError{errors.New("login.client_metadata_url is not set: the document names the URL at which it is served")}
	}
	doc, err := login.ClientMetadata(at)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", doc)
	return err
}

func (p *program) checkConfig(ctx context.Context) error {
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	if err := cfg.Network.CheckEnvironment(); err != nil {
		return err
	}
	files, err := p.loadFiles(ctx, cfg, atHome)
	defer files.close()
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(p.stderr, "warning:", w)
	}
	for _, w := range files.warnings() {
		fmt.Fprintln(p.stderr, "warning:", w)
	}
	where := cfg.Path
	if where == "" {
		where = "no config file (that is fine)"
	}
	_, err = fmt.Fprintf(p.stdout, "%s: ok; %s\n", where, contents(cfg))
	return err
}

func contents(cfg *config.Config) string {
	return fmt.Sprintf("sites: %d, certificate entries: %d, issuers: %d", len(cfg.Sites), len(cfg.MTLS), len(cfg.Issuers))
}

// initConfig writes the example where no file is yet.
func (p *program) initConfig() error {
	path, _ := p.configPath()
	if path == "" {
		return &usageError{errors.New("there is no config directory; use --config")}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{fmt.Errorf("%s exists already; it was left as it is", path)}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(config.Example())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, path)
	return err
}
