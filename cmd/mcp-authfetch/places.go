package main

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// loadConfig finds and loads the config: --config, else AUTHFETCH_CONFIG, else the default place,
// where it may be absent.
func (p *program) loadConfig() (*config.Config, error) {
	path, explicit := p.configPath()
	home, _ := p.home()
	return config.Load(path, !explicit, config.Env(p.env), home)
}

func (p *program) configPath() (path string, explicit bool) {
	if p.flags.config != "" {
		return p.flags.config, true
	}
	if path, ok := p.env("AUTHFETCH_CONFIG"); ok && path != "" {
		return path, true
	}
	dir, err := p.userDir("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return "", false
	}
	return filepath.Join(dir, "mcp-authfetch", "config.jsonc"), false
}

func (p *program) openStore(cfg *config.Config) (tokenstore.Store, error) {
	if cfg.Store.Type == "memory" {
		return tokenstore.NewMemory(), nil
	}
	dir, err := p.storeDir(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Store.Type == "keyring" {
		return tokenstore.OpenKeyring(dir, tokenstore.FileOptions{Logger: p.log})
	}
	return tokenstore.OpenFile(dir, tokenstore.FileOptions{Logger: p.log})
}

// storeDir is store.path, else the user's directory for state that should outlive the process.
func (p *program) storeDir(cfg *config.Config) (string, error) {
	if cfg.Store.Path != "" {
		return cfg.Store.Path, nil
	}
	dir, err := p.userDir("XDG_STATE_HOME", filepath.Join(".local", "state"))
	if err != nil {
		return "", &noHomeError{err}
	}
	if windowsOrMac {
		return filepath.Join(dir, "mcp-authfetch", "state"), nil
	}
	return filepath.Join(dir, "mcp-authfetch"), nil
}

const windowsOrMac = runtime.GOOS == "windows" || runtime.GOOS == "darwin"

// userDir is a directory of the XDG base directory specification: what the variable says if that
// is absolute, else the place below home. Windows and macOS have one of their own for everything.
func (p *program) userDir(variable, below string) (string, error) {
	if dir, ok := p.env(variable); ok && filepath.IsAbs(dir) {
		return dir, nil
	}
	if windowsOrMac {
		return os.UserConfigDir()
	}
	home, err := p.home()
	return filepath.Join(home, below), err
}

func (p *program) home() (string, error) {
	if home, ok := p.env("HOME"); ok && home != "" {
		return home, nil
	}
	return os.UserHomeDir()
}

// noHomeError: there is no place to keep logins in.
type noHomeError struct{ err error }

func (e *noHomeError) Error() string { return "there is no place to keep logins: " + e.err.Error() }
func (e *noHomeError) Unwrap() error { return e.err }
func (e *noHomeError) Code() string  { return "config" }
func (e *noHomeError) Hint() string {
	return `set HOME, or store.path in the config, or store.type to "memory"`
}
