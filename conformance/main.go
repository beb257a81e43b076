// Command conformance drives auth.Transport through the client scenarios of the MCP conformance
// suite: it is given the URL of the scenario's server as its last argument, calls tools/list and
// tools/call as an MCP client would, and plays the person who signs in. See ./run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// metadataURL is the client metadata document that the suite knows.
const metadataURL = "https://conformance-test.local/client-metadata.json"

func main() {
	ctx, cancel := context.WithTimeout(principal.With(context.Background(), principal.Local), 25*time.Second)
	defer cancel()
	d := driver{protocol: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION"), log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if err := d.run(ctx, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

type driver struct {
	protocol string
	log      *slog.Logger
}

func (d driver) run(ctx context.Context, server string) error {
	given, err := readGiven()
	if err != nil {
		return err
	}
	store := tokenstore.NewMemory()
	base := outbound.New(outbound.Options{Logger: d.log, Rules: func(context.Context, origin.Origin) (netguard.Rules, error) {
		return netguard.Rules{Loopback: true}, nil
	}})
	desk := action.NewDesk(action.DeskOptions{Open: signIn, Logger: d.log})
	defer desk.Close()
	disc := discovery.New(discovery.Options{Transport: base, AllowHTTP: origin.Origin.IsLoopback})
	site, client, err := given.configure()
	if err != nil {
		return err
	}
	site.Legacy = d.protocol == "2025-03-26"
	if client.ID != "" {
		// A client registered beforehand belongs to an issuer that the configuration names.
		if site.Issuer, err = issuerOf(ctx, disc, server); err != nil {
			return err
		}
	}
	transport := auth.New(auth.Options{
		Base: base, Discovery: disc, Store: store, Logger: d.log,
		Login:  login.New(login.Options{Transport: base, Store: store, Desk: desk, ClientMetadataURL: metadataURL, Logger: d.log}),
		Zones:  &auth.Zones{Store: store, Allowed: origin.Origin.IsLoopback},
		Site:   func(origin.Origin) auth.Site { return site },
		Client: func(string) login.Credentials { return client },
		Issuer: func(issuer string) bool { return site.Issuer != "" && issuer == site.Issuer },
	})
	for i, method := range []string{"tools/list", "tools/call"} {
		if err := d.call(ctx, transport, server, i+1, method); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
	}
	return nil
}

// issuerOf is what an operator would look up before writing the configuration.
func issuerOf(ctx context.Context, disc *discovery.Client, server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	res, err := disc.Resource(ctx, u, "")
	if err != nil {
		return "", err
	}
	if len(res.AuthorizationServers) == 0 {
		return "", errors.New("the server names no authorization server")
	}
	return res.AuthorizationServers[0], nil
}

// call sends one JSON-RPC request, again after each sign-in.
func (d driver) call(ctx context.Context, transport http.RoundTripper, server string, id int, method string) error {
	params := map[string]any{"_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion":    d.protocol,
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "mcp-authfetch", "version": "1"},
	}}
	if method == "tools/call" {
		params["name"], params["arguments"] = "test-tool", map[string]any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	for range 6 {
		resp, err := d.send(ctx, transport, server, method, body)
		var need *auth.ActionRequired
		if errors.As(err, &need) {
			if err := need.Wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 400 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return errors.New("one sign-in after the other was asked for")
}

func (d driver) send(ctx context.Context, transport http.RoundTripper, server, method string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": d.protocol, "Mcp-Method": method,
	} {
		req.Header.Set(name, value)
	}
	if method == "tools/call" {
		req.Header.Set("Mcp-Name", "test-tool")
	}
	return transport.RoundTrip(req)
}

// signIn is the person: continues on our page, and follows where it leads. The suite's
// authorization server approves without asking.
func signIn(_ context.Context, page string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	go func() { // as a browser would: the sign-in goes on beside the call
		c := &http.Client{Jar: jar, Timeout: 20 * time.Second}
		resp, err := c.PostForm(page, url.Values{"action": {"continue"}})
		if err != nil {
			fmt.Fprintln(os.Stderr, "person:", err)
			return
		}
		resp.Body.Close()
		fmt.Fprintln(os.Stderr, "person: the last page has status", resp.StatusCode)
	}()
	return nil
}
