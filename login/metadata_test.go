package login

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// Where a server knows clients by the URL of their metadata, nothing is registered.
func TestClientMetadataDocument(t *testing.T) {
	const at = "https://me.example/client.json"
	for _, tt := range []struct {
		name            string
		offered, served bool
		iss, trusted    bool
		registrations   int
	}{
		{"offered and served", true, true, true, false, 0},
		{"not offered", false, true, true, false, 1},
		{"served nowhere", true, false, true, false, 1},
		{"a server that does not promise iss could be given another's code", true, true, false, false, 1},
		{"a configured server that does not promise iss", true, true, false, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{at: ""}}, options{})
			if tt.served {
				w.opts.ClientMetadataURL = at
			}
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

func TestClientMetadata(t *testing.T) {
	doc, err := ClientMetadata("https://me.example/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		ClientID     string   `json:"client_id"`
		Application  string   `json:"application_type"`
		RedirectURIs []string `json:"redirect_uris"`
		Method       string   `json:"token_endpoint_auth_method"`
	}
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	if m.ClientID != "https://me.example/client.json" || m.Application != "native" || m.Method != "none" || !slices.Contains(m.RedirectURIs, "http://127.0.0.1/callback") {
		t.Errorf("got %s", doc)
	}
}
