package oauthtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// findClient returns the client of that id, nil where there is none. One whose id is the URL of
// its metadata document is fetched when it is first seen; why says what is wrong with it.
func (i *Issuer) findClient(ctx context.Context, id string) (c *client, why string) {
	i.mu.Lock()
	c = i.clients[id]
	i.mu.Unlock()
	if c != nil {
		return c, ""
	}
	if i.options.MetadataClients == nil || !strings.HasPrefix(id, "https://") && !strings.HasPrefix(id, "http://") {
		return nil, "the client is unknown"
	}
	c, err := i.fetchClient(ctx, id)
	if err != nil {
		return nil, "the client's metadata document cannot be used: " + err.Error()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if other := i.clients[id]; other != nil {
		return other, ""
	}
	i.clients[id] = c
	return c, ""
}

func (i *Issuer) fetchClient(ctx context.Context, id string) (*client, error) {
	u, err := url.Parse(id)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(id, "#") || u.Path == "" || u.Path == "/" ||
		slices.Contains(strings.Split(u.Path, "/"), "..") || slices.Contains(strings.Split(u.Path, "/"), ".") {
		return nil, fmt.Errorf("%q is not a URL with a path and without user, fragment and dot segments", id)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	// Redirects are not followed: the document is where the identifier says, or nowhere.
	fetcher := *i.options.MetadataClients
	fetcher.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := fetcher.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return nil, fmt.Errorf("status %d, type %q", resp.StatusCode, media)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecorded))
	if err != nil {
		return nil, err
	}
	return readClient(id, body)
}

func readClient(id string, body []byte) (*client, error) {
	var m struct {
		registration
		ID     string  `json:"client_id"`
		Secret *string `json:"client_secret"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m.ID != id {
		return nil, fmt.Errorf("client_id in it is %q", m.ID)
	}
	// A public document has no secret; without a key registered for it, the client is a public one.
	if m.Secret != nil || m.AuthMethod != "" && m.AuthMethod != "none" {
		return nil, fmt.Errorf("token_endpoint_auth_method %q", m.AuthMethod)
	}
	m.AuthMethod = "none"
	if m.ApplicationType == "" {
		m.ApplicationType = "native"
	}
	m.setDefaults()
	if f := m.validate(); f != nil {
		return nil, fmt.Errorf("%s", f.description)
	}
	c := &client{id: id, name: m.Name, methods: []string{"none"}, redirectURIs: m.RedirectURIs, grants: m.GrantTypes, dynamic: true}
	if c.name == "" {
		c.name = id
	}
	return c, nil
}
