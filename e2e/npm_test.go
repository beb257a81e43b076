package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// What is installed: the server, and the Node that it wants.
const (
	nodeVersion     = "22.23.3"
	providerVersion = "9.13.3"
)

// packages is the directory where npm put them, made by the first test that needs it:
// AUTHFETCH_E2E_NPM, else one in the user's cache.
var packages = sync.OnceValues(func() (string, error) {
	dir := os.Getenv("AUTHFETCH_E2E_NPM")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "mcp-authfetch-e2e")
	}
	dir, err := filepath.Abs(dir)
	if err != nil || isInstalled(dir) {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--loglevel=error",
		"node@"+nodeVersion, "oidc-provider@"+providerVersion).CombinedOutput()
	switch {
	case err != nil:
		return "", fmt.Errorf("npm install: %w\n%s", err, out)
	case !isInstalled(dir):
		return "", fmt.Errorf("npm install did not bring Node %s and oidc-provider %s:\n%s", nodeVersion, providerVersion, out)
	}
	return dir, nil
})

func node(dir string) string { return filepath.Join(dir, "node_modules", "node", "bin", "node") }

func isInstalled(dir string) bool {
	out, err := exec.Command(node(dir), "--version").Output()
	if err != nil || strings.TrimSpace(string(out)) != "v"+nodeVersion {
		return false
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "node_modules", "oidc-provider", "package.json"))
	return err == nil && strings.Contains(string(manifest), `"version": "`+providerVersion+`"`)
}

// needPackages returns the directory of the npm packages, and skips the test where there is none.
// In CI that is a failure.
func needPackages(t *testing.T) string {
	t.Helper()
	dir, err := packages()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip("needs npm and its registry: ", err)
	}
	return dir
}
