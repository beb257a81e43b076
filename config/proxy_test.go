package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestProxyFor(t *testing.T) {
	everything := map[string]string{"HTTPS_PROXY": "http://secure.example:3129", "HTTP_PROXY": "http://plain.example:3128", "NO_PROXY": "direct.example,.sub.example, 10.0.0.0/8 ,port.example:8443"}
	for _, tt := range []struct {
		name, network string
		env           map[string]string
		to            string
		served        bool // by a process that serves others
		want          string
	}{
		{name: "none", to: "https://a.example"},
		{name: "of the file", network: `"http://file.example:1"`, env: everything, to: "https://a.example", want: "network.proxy http://file.example:1"},
		{name: "of the file, served", network: `"http://file.example:1"`, to: "http://a.example", served: true, want: "network.proxy http://file.example:1"},
		{name: "exceptions of the environment are not the file's", network: `"http://file.example:1"`, env: everything, to: "https://direct.example", want: "network.proxy http://file.example:1"},
		{name: "exception of the file", network: `{"url": "http://file.example:1", "except": ["a.example"]}`, env: everything, to: "https://a.example"},
		{name: "all excepted", network: `{"url": "http://file.example:1", "except": "*"}`, to: "https://a.example"},
		{name: "none in the file", network: `""`, env: everything, to: "https://a.example"},
		{name: "https of the environment", env: everything, to: "https://a.example", want: "HTTPS_PROXY http://secure.example:3129"},
		{name: "http of the environment", env: everything, to: "http://a.example", want: "HTTP_PROXY http://plain.example:3128"},
		{name: "environment, served", env: everything, to: "https://a.example", served: true},
		{name: "excepted host", env: everything, to: "https://direct.example"},
		{name: "below an excepted host", env: everything, to: "https://x.direct.example"},
		{name: "below an excepted domain", env: everything, to: "http://x.sub.example"},
		{name: "the excepted domain itself", env: everything, to: "http://sub.example", want: "HTTP_PROXY http://plain.example:3128"},
		{name: "ends alike", env: everything, to: "https://notdirect.example", want: "HTTPS_PROXY http://secure.example:3129"},
		{name: "excepted network", env: everything, to: "https://10.1.2.3"},
		{name: "other network", env: everything, to: "https://11.1.2.3", want: "HTTPS_PROXY http://secure.example:3129"},
		{name: "excepted port", env: everything, to: "https://port.example:8443"},
		{name: "other port", env: everything, to: "https://port.example", want: "HTTPS_PROXY http://secure.example:3129"},
		{name: "lower case first", env: map[string]string{"https_proxy": "http://lower.example", "HTTPS_PROXY": "http://upper.example", "no_proxy": "x", "NO_PROXY": "a.example"}, to: "https://a.example", want: "https_proxy http://lower.example"},
		{name: "an empty one is unset", env: map[string]string{"https_proxy": "", "HTTPS_PROXY": "http://upper.example"}, to: "https://a.example", want: "HTTPS_PROXY http://upper.example"},
		{name: "host and port alone", env: map[string]string{"HTTPS_PROXY": "p.example:3128"}, to: "https://a.example", want: "HTTPS_PROXY http://p.example:3128"},
		{name: "with a login", env: map[string]string{"HTTPS_PROXY": "https://me:p%40ss@p.example"}, to: "https://a.example", want: "HTTPS_PROXY https://p.example me p@ss"},
		{name: "made by a web server of a header", env: map[string]string{"HTTP_PROXY": "http://evil.example", "REQUEST_METHOD": "GET"}, to: "http://a.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "{}"
			if tt.network != "" {
				text = `{"network": {"proxy": ` + tt.network + `}}`
			}
			c, err := Load(write(t, "c.jsonc", text), false, variables(tt.env), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Network.CheckEnvironment(); err != nil {
				t.Fatal(err)
			}
			got := ""
			if p := c.Network.ProxyFor(mustOrigin(t, tt.to), !tt.served); p != nil {
				got = p.Setting + " " + p.At.String()
				if p.Username != "" {
					got += " " + p.Username + " " + p.Password.Reveal()
				}
				if all := c.Network.Proxies(); len(all) == 0 || len(all) > 2 {
					t.Errorf("of %d proxies", len(all))
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What is wrong with the variables concerns those who use them, and shows no password.
func TestProxyVariablesRefused(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"socks5://u:" + canary + "@p.example", "the proxy must be http://host:port or https://host:port, not socks5://"},
		{"http://u:" + canary + "@p.example/path", ""},
		{"http://u:%zz" + canary + "@p.example", "this is not the URL of a proxy"},
		{"http://", "expected http://host:port or https://host:port"},
		{"https://p.example:0x1", "this is not the URL of a proxy"},
	} {
		t.Run(tt.value, func(t *testing.T) {
			c, err := Load("", true, variables(map[string]string{"HTTPS_PROXY": tt.value}), "")
			if err != nil {
				t.Fatal("loading fails for those too who do not use the variables:", err)
			}
			err = c.Network.CheckEnvironment()
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var all Errors
			if !errors.As(err, &all) || len(all) != 1 || !strings.HasPrefix(all[0].Error(), "HTTPS_PROXY: "+tt.want) || !strings.Contains(all[0].Error(), `set network.proxy in the config ("" means none)`) {
				t.Errorf("got %v", err)
			}
			if s := fmt.Sprintf("%v %+v %#v %s", err, c, *c, all.Hint()); strings.Contains(s, canary) {
				t.Errorf("the password is shown: %s", s)
			}
			if c, err = Load(write(t, "c.jsonc", `{"network": {"proxy": ""}}`), false, variables(map[string]string{"HTTPS_PROXY": tt.value}), ""); err != nil || c.Network.CheckEnvironment() != nil {
				t.Errorf("the file says that there is none, and still: %v, %v", err, c.Network.CheckEnvironment())
			}
		})
	}
}

// The passphrase may change together with the key.
func TestPassphraseIsReadAnew(t *testing.T) {
	t.Parallel()
	secrets := write(t, "p", "one\n")
	c, err := Load(write(t, "c.jsonc", `{"mtls": {"a": {"cert": "/c", "passphrase": "x{file:`+secrets+`}"}}}`), false, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, secrets, "two\n")
	got, err := c.MTLS["a"].ReadPassphrase()
	if err != nil || got.Reveal() != "xtwo" || c.MTLS["a"].Passphrase.Reveal() != "xone" {
		t.Errorf("read %q, %v; first %q", got.Reveal(), err, c.MTLS["a"].Passphrase.Reveal())
	}
}

func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
