package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// world is one authorization server and one site, a person with an account, and a user whose
// config names both.
type world struct {
	*provider
	t      *testing.T
	ca     *tlstest.CA
	person *person
	dir    string         // the user's home
	env    []string       // more of the binary's environment
	config map[string]any // written before each process starts
}

type object = map[string]any

// newWorld starts both servers. The config trusts the authority that they have their certificates
// from, and no other.
func newWorld(t *testing.T, o options) *world {
	t.Helper()
	t.Parallel()
	ca := tlstest.NewCA("Harbour Root")
	w := &world{provider: startProvider(t, ca, o), t: t, ca: ca, person: newPerson(ca.Pool()), dir: t.TempDir()}
	must(t, os.WriteFile(filepath.Join(w.dir, "ca.pem"), ca.PEM(), 0o600))
	w.config = object{
		"mtls":    object{"root": object{"ca": "ca.pem", "ca_mode": "only"}},
		"sites":   object{w.site: object{"mtls": "root"}, originOf(w.issuer): object{"mtls": "root"}, w.alias: object{"mtls": "root"}},
		"issuers": object{},
		"login":   object{"browser": "never"},
	}
	return w
}

// configureSite says how to sign in to the site.
func (w *world) configureSite(oauth object) {
	w.config["sites"].(object)[w.site].(object)["oauth"] = oauth
}

// configureClient says which client is ours at the issuer, and that the site belongs to it.
func (w *world) configureClient(client, oauth object) {
	w.config["issuers"].(object)[w.issuer] = client
	oauth["issuer"] = w.issuer
	w.configureSite(oauth)
}

// useCertificate writes a pair and shows it at these origins.
func (w *world) useCertificate(pair *tlstest.Pair, origins ...string) {
	w.t.Helper()
	_, _, err := pair.Write(w.dir, "client")
	must(w.t, err)
	w.config["mtls"].(object)["client"] = object{"cert": "client.pem", "key": "client.key", "ca": "ca.pem", "ca_mode": "only"}
	for _, o := range origins {
		w.config["sites"].(object)[o].(object)["mtls"] = "client"
	}
}

// command is the binary with the config as it is now, and an environment of its own.
func (w *world) command(args ...string) *exec.Cmd {
	w.t.Helper()
	data, err := json.MarshalIndent(w.config, "", "  ")
	must(w.t, err)
	path := filepath.Join(w.dir, "config.jsonc")
	must(w.t, os.WriteFile(path, data, 0o600))
	cmd := exec.Command(binary, append(args, "--config", path)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_CONFIG_HOME=" + w.dir, "XDG_STATE_HOME=" + w.dir}, w.env...)
	return cmd
}

func (w *world) page() string { return w.site + "/docs/handbook" }

// signIn fetches the page, signs in at the link that comes back, and has the page.
func (w *world) signIn(a *agent) {
	w.t.Helper()
	got := a.fetch(w.page(), 0)
	if got.Status != "login_required" && got.Status != "login_pending" || got.Login.URL == "" {
		w.t.Fatalf("got %+v, want a link to sign in at", got)
	}
	last, err := w.person.walk(w.t.Context(), got.Login.URL, "")
	if err != nil {
		w.t.Fatalf("signing in: %v", err)
	}
	if !strings.Contains(last, "close") {
		w.t.Errorf("the last page is %q", last)
	}
	w.read(a)
}

// read fetches the page, which must come without anybody's help.
func (w *world) read(a *agent) {
	w.t.Helper()
	if got := a.fetch(w.page(), 0); !got.isHandbook() {
		w.t.Fatalf("got %+v, want the page", got)
	}
}

func (a answer) isHandbook() bool {
	return a.Status == "ok" && !a.IsError && strings.Contains(a.Text, "# Harbour handbook")
}

// granted is the only token request of that grant type, which must have got a token.
func (w *world) granted(grantType string) event {
	w.t.Helper()
	return w.only("token request of "+grantType, w.grants(grantType), http.StatusOK)
}

// only is the only event there is, answered with that status.
func (w *world) only(what string, events []event, status int) event {
	w.t.Helper()
	if len(events) != 1 || events[0].Status != status {
		w.t.Fatalf("%s: %+v, want one with status %d", what, events, status)
	}
	return events[0]
}

// want compares some members of a form or query. nil: it must not be there.
func want[V any](t *testing.T, what string, got map[string]V, want object) {
	t.Helper()
	for name, v := range want {
		has, ok := got[name]
		if v == nil && ok || v != nil && any(has) != v {
			t.Errorf("%s: %s is %v, want %v", what, name, has, v)
		}
	}
}

func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
