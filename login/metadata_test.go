package login

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// Where a server knows clients by the URL of their metadata, nothing is registered.
func TestClientMetadataDocument(t *testing.T) {
	const at = "https://me.example/client.json"
	for _, tt := range []struct {
		name            string
		offered, served bool
		iss, trusted    bool
		port            string
		registrations   int
	}{
		{"offered and served", true, true, true, false, "", 0},
		{"not offered", false, true, true, false, "", 1},
		{"served nowhere", true, false, true, false, "", 1},
		{"a server that does not promise iss could be given another's code", true, true, false, false, "", 1},
		{"a configured server that does not promise iss", true, true, false, true, "", 0},
		{"a server that compares the port, which the document does not name", true, true, true, true, "exact", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{at: ""}}, options{})
			if tt.served {
				w.opts.ClientMetadataURL = at
			}
			w.opts.Settings = func(string) Settings { return Settings{RedirectPort: tt.port} }
			req := w.request()
			s := *req.Server
			s.ClientIDMetadataDocumentSupported, s.IssParameterSupported = tt.offered, tt.iss
			req.Trusted = tt.trusted
			req.Server = &s
			a := w.start(req)
			if err := w.person.Continue(t.Context(), a.Prompt().URL); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, a); err != nil {
				t.Fatal(err)
			}
			if n := len(w.received("/register")); n != tt.registrations {
				t.Errorf("%d registrations, want %d", n, tt.registrations)
			}
			id := w.received("/authorize")[0].Query.Get("client_id")
			if (id == at) != (tt.registrations == 0) || w.received("/token")[0].Form.Get("client_id") != id {
				t.Errorf("signed in as client %q", id)
			}
		})
	}
}

// With no other way to get a client, the document is tried all the same.
func TestClientMetadataDocumentIsTheLastResort(t *testing.T) {
	f, _, req := at(t, http.NotFound)
	f.opts.ClientMetadataURL = "https://me.example/client.json"
	f.opts.Settings = func(string) Settings { return Settings{RedirectPort: "exact"} }
	req.Client, req.Server.RegistrationEndpoint = Credentials{}, ""
	req.Server.ClientIDMetadataDocumentSupported, req.Server.IssParameterSupported = true, true
	c, _, err := f.client(t.Context(), req, f.redirectURI(req, "http://127.0.0.1:1001/callback"))
	if err != nil || c.ID != f.opts.ClientMetadataURL || f.canGetClient(req) != nil {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestClientMetadata(t *testing.T) {
	doc, err := ClientMetadata("https://me.example/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	// All of it: nothing else may be told to everybody.
	want := map[string]any{
		"client_id": "https://me.example/client.json", "client_name": "mcp-authfetch", "application_type": "native",
		"redirect_uris":  []any{"http://127.0.0.1/callback", "http://[::1]/callback", "http://localhost/callback"},
		"grant_types":    []any{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"},
		"response_types": []any{"code"}, "token_endpoint_auth_method": "none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
