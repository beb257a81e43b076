package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestEnvironment(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	p := patterns(t, "https://a.example", "https://*.corp.example", "https://b.example")
	c, err := Load(write(t, "c.jsonc", `{"mtls": {"other": {"ca": "/ca"}}, "sites": {"https://b.example": {"headers": {"X": "{env:V}"}}, "https://a.example:1": {"mtls": "other"}}, "login": {"browser": "never"}}`), false,
		variables(map[string]string{
			"V":              "v",
			"AUTHFETCH_CERT": "~/c.pem", "AUTHFETCH_KEY": "k.pem", "AUTHFETCH_KEY_PASSPHRASE": "{env:V} is not replaced here", "AUTHFETCH_CA": "/ca.pem",
			"AUTHFETCH_ORIGINS": "https://A.example, https://*.corp.example,,https://b.example,https://a.example:443",
			"AUTHFETCH_BROWSER": "open -a x", "AUTHFETCH_PRIVATE": "deny",
		}), "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	wantMTLS := map[string]MTLS{
		"other": {CA: []string{"/ca"}, CAMode: "add", MinVersion: "1.2"},
		"env":   {Cert: "/home/u/c.pem", Key: filepath.Join(wd, "k.pem"), Passphrase: secret.New("{env:V} is not replaced here"), CA: []string{"/ca.pem"}, CAMode: "add", MinVersion: "1.2", Environment: true},
	}
	if diff := cmp.Diff(wantMTLS, c.MTLS, comparable); diff != "" {
		t.Errorf("MTLS (-want +got):\n%s", diff)
	}
	wantSites := []Site{
		{Pattern: p[2], MTLS: "env", Headers: []Header{{"X", secret.New("v")}}},
		{Pattern: patterns(t, "https://a.example:1")[0], MTLS: "other"},
		{Pattern: p[0], MTLS: "env"},
		{Pattern: p[1], MTLS: "env"},
	}
	if diff := cmp.Diff(wantSites, c.Sites, comparable); diff != "" {
		t.Errorf("Sites (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Login{Browser: "command", BrowserCommand: []string{"open", "-a", "x"}, Timeout: 10 * time.Minute}, c.Login); diff != "" {
		t.Errorf("Login (-want +got):\n%s", diff)
	}
	if c.Network.Private != "deny" || c.Warnings != nil {
		t.Errorf("private %q, warnings %q", c.Network.Private, c.Warnings)
	}
}

func TestEnvironmentWithoutFile(t *testing.T) {
	c, err := Load("", true, variables(map[string]string{"AUTHFETCH_CA": "~/ca.pem", "AUTHFETCH_ORIGINS": "https://a.example", "AUTHFETCH_CERT": "", "AUTHFETCH_BROWSER": ""}), "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]MTLS{"env": {CA: []string{"/home/u/ca.pem"}, CAMode: "add", MinVersion: "1.2", Environment: true}}, c.MTLS, comparable); diff != "" {
		t.Errorf("MTLS (-want +got):\n%s", diff)
	}
	if s := c.Site(mustOrigin(t, "https://a.example")); s == nil || s.MTLS != "env" {
		t.Errorf("site %+v, want one with env", s)
	}
}

func TestEnvironmentRefused(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		env        map[string]string
		want       string
	}{
		{"key alone", `{}`, map[string]string{"AUTHFETCH_KEY": "k"}, "AUTHFETCH_KEY: the key is half of a pair; AUTHFETCH_CERT is missing"},
		{"passphrase alone", `{}`, map[string]string{"AUTHFETCH_KEY_PASSPHRASE": "p"}, "AUTHFETCH_KEY_PASSPHRASE: it opens a key, and AUTHFETCH_CERT is missing"},
		{"origins alone", `{}`, map[string]string{"AUTHFETCH_ORIGINS": "https://a"}, "AUTHFETCH_ORIGINS: it names the sites of AUTHFETCH_CERT or AUTHFETCH_CA, and neither is set"},
		{"cert without origins", `{}`, map[string]string{"AUTHFETCH_CERT": "c"}, "AUTHFETCH_ORIGINS: AUTHFETCH_CERT is set, so this must name the sites it is for"},
		{"ca without origins", `{}`, map[string]string{"AUTHFETCH_CA": "c"}, "AUTHFETCH_ORIGINS: AUTHFETCH_CA is set, so this must name the sites it is for"},
		{"bad origin", `{}`, map[string]string{"AUTHFETCH_CERT": "c", "AUTHFETCH_ORIGINS": "https://a,b.example"}, `AUTHFETCH_ORIGINS: "b.example": this is not an origin: no scheme; it must start with https:// or http://`},
		{"http origin", `{}`, map[string]string{"AUTHFETCH_CERT": "c", "AUTHFETCH_ORIGINS": "http://a"}, "AUTHFETCH_ORIGINS: a client certificate or private root has no use over http; http://a must be https"},
		{"claimed twice", `{"mtls": {"corp": {"cert": "c"}}, "sites": {"https://a.example": {"mtls": "corp"}}}`,
			map[string]string{"AUTHFETCH_CERT": "c", "AUTHFETCH_ORIGINS": "https://A.example"}, `AUTHFETCH_ORIGINS: https://a.example is claimed twice; the file gives it "corp"`},
		{"name taken", `{"mtls": {"env": {"cert": "c"}}}`, map[string]string{"AUTHFETCH_CERT": "c", "AUTHFETCH_ORIGINS": "https://a"}, `c.jsonc:1:11: the name "env" is taken by AUTHFETCH_CERT; choose another`},
		{"key in place of its file", `{}`, map[string]string{"AUTHFETCH_CERT": "c", "AUTHFETCH_KEY": "-----BEGIN PRIVATE KEY-----\nMIGH", "AUTHFETCH_ORIGINS": "https://a"}, "AUTHFETCH_KEY: this is the text of a file; save it, and write the name of the file here"},
		{"home unknown", `{}`, map[string]string{"AUTHFETCH_CERT": "~/c", "AUTHFETCH_ORIGINS": "https://a"}, `AUTHFETCH_CERT: "~/c": the home directory is not known`},
		{"private", `{}`, map[string]string{"AUTHFETCH_PRIVATE": "dney"}, `AUTHFETCH_PRIVATE: "dney" is not one of ask, allow, deny; did you mean "deny"?`},
		{"browser", `{}`, map[string]string{"AUTHFETCH_BROWSER": " "}, "AUTHFETCH_BROWSER: the browser command is empty"},
		{"file first", `{"x": 1}`, map[string]string{"AUTHFETCH_KEY": "k"}, "c.jsonc:1:2: unknown key \"x\"\nAUTHFETCH_KEY: the key is half of a pair; AUTHFETCH_CERT is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "c.jsonc", tt.text)
			_, err := Load(path, false, variables(tt.env), "")
			if got := message(err, path); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	if _, err := Load(write(t, "c.jsonc", `{"mtls": {"env": {"cert": "c"}}}`), false, nil, ""); err != nil {
		t.Errorf("the name env is refused although no variable claims it: %v", err)
	}
}
