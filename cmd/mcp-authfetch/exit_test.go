package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/server"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestExitCode(t *testing.T) {
	_, badURL := fetch.ParseURL("ftp://host.example/")
	_, noFile := tlsmat.Load(t.Context(), tlsmat.Entry{Name: "corp", Cert: "/nowhere.pem"})
	_, noCode := fetch.ParseURL("https://host.example:0/")
	elsewhere := &url.URL{Scheme: "https", Host: "elsewhere.example", Path: "/"}
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"anything", errors.New("disk full"), exitOther},
		{"interrupted", context.Canceled, exitOther},
		{"the command line", &usageError{errors.New("which command?")}, exitUsage},
		{"the config", config.Errors{{Path: "config.jsonc", Reason: "odd"}}, exitUsage},
		{"a URL", badURL, exitUsage},
		{"another URL", noCode, exitUsage},
		{"a file of the config", errors.Join(noFile, noFile), exitUsage},
		{"the address to listen on", &server.ListenError{}, exitUsage},
		{"the port of the login page", &action.PortError{Port: 1, Err: os.ErrPermission}, exitUsage},
		{"a place for logins", &noHomeError{errors.New("no home")}, exitUsage},
		{"an address that is denied", &netguard.DeniedError{}, exitNetwork},
		{"TLS behind another error", fmt.Errorf("asking: %w", tlsfault.ExplainStatus(&http.Response{StatusCode: 497}, nil, "host.example", nil, nil)), exitNetwork},
		{"time", &fetch.TimeoutError{}, exitNetwork},
		{"somebody needed", &auth.ActionRequired{Action: action.New("id", action.Prompt{})}, exitLogin},
		{"an address to allow", &auth.ActionRequired{Action: action.New("id", action.Prompt{Kind: action.AllowAddress})}, exitLogin},
		{"a no", action.ErrDenied, exitLogin},
		{"a no of before", &action.DeclinedError{}, exitLogin},
		{"nobody answered", action.ErrExpired, exitLogin},
		{"no issuer", &auth.NoIssuerError{}, exitLogin},
		{"no client", &login.ClientError{}, exitLogin},
		{"metadata of another", &discovery.MismatchError{}, exitLogin},
		{"an answer of the token endpoint", &login.TokenError{Status: 400, ErrorCode: "invalid_grant"}, exitLogin},
		{"a status", &statusError{404}, exitStatus},
		{"a scheme that is not OAuth", &auth.SchemeError{Status: 401, Schemes: []string{"Basic"}}, exitStatus},
		{"a redirect", &fetch.RedirectError{From: elsewhere, To: elsewhere, Reason: fetch.CrossOrigin}, exitOther},
		{"a size", &fetch.TooLargeError{}, exitOther},
		{"the store", &tokenstore.PermissionError{}, exitOther},
		{"a step of the demo", &stepError{"signing in", &statusError{500}}, exitOther},
		{"a check of doctor", &checkError{exitNetwork}, exitNetwork},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := exitCode(test.err); got != test.want {
				t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
			}
		})
	}
	if got := exitCode(&outbound.Error{}); got != exitOther {
		t.Errorf("an error without a code gives %d, want %d", got, exitOther)
	}
}

// TestReportIsFitForATerminal: an error may quote what a server said.
func TestReportIsFitForATerminal(t *testing.T) {
	var stderr bytes.Buffer
	p := &program{surroundings: surroundings{stderr: &stderr}}
	if got := p.report(nil, errors.New("the site said \x1b]0;owned\x07 \u202Ebackwards")); got != exitOther {
		t.Errorf("exit code %d, want %d", got, exitOther)
	}
	if strings.ContainsAny(stderr.String(), "\x1b\x07\u202e") {
		t.Errorf("stderr has hidden characters: %q", stderr.String())
	}
}
