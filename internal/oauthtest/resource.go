package oauthtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ResourceOptions shape a [Resource]. With an Issuer and nothing else it is a documentation site
// that demands a token for every page.
type ResourceOptions struct {
	TLS    *tls.Config // nil: plain http on loopback
	Listen string      // "": 127.0.0.1:0; the host given here is the host of the URL
	Issuer *Issuer     // nil: no OAuth at all
	Log    *Log        // nil: its own

	Pages  map[string]Page // by path; nil: a small documentation site, "/" and "/docs/handbook"
	Public []string        // path prefixes that need no token
	Scopes []string        // needed, and named in the challenge and in the metadata

	DPoP             bool   // only tokens bound to a key, with proofs (RFC 9449)
	DPoPNonce        bool   // proofs need a nonce of this server
	CertificateBound bool   // only tokens bound to the certificate of the connection (RFC 8705 §3)
	ACR              string // the token needs one of these authentication classes (RFC 9470)
	MaxAge           int    // and a sign-in no older than so many seconds; 0: of any age

	// Metadata says where the protected resource metadata (RFC 9728) is found:
	// "header" (or ""): the challenge names it;
	// "path": only at the well-known URL with the path inserted, the challenge does not name it;
	// without a ResourceID each page is then a resource of its own, and a token for one of them
	// serves for all; "root": only at the root well-known URL; "none": nowhere.
	Metadata        string
	ChallengeStatus int                            // 0: 401; 302 goes to a sign-in page
	Challenge       func(r *http.Request) []string // overrides the WWW-Authenticate lines
	ResourceID      string                         // identifier and audience; "": origin, without a trailing slash
	EditMetadata    func(metadata map[string]any)  // change the document before it is sent
	Handle          map[string]http.HandlerFunc    // by exact path, before pages and tokens; see [Resource.Protect]
}

// Page is what a resource serves at one path.
type Page struct {
	ContentType string // "": text/html; charset=utf-8
	Body        []byte
	Status      int // 0: 200
	Header      http.Header
}

// Resource is a running protected resource.
type Resource struct {
	URL string // base URL, without a trailing slash
	Log *Log

	options ResourceOptions
	idPath  string // path of the ResourceID, "" for the root
	proofs  *proofs
	server  *server
}

// NewResource starts a protected resource; Close it.
func NewResource(o ResourceOptions) (*Resource, error) {
	switch o.Metadata {
	case "":
		o.Metadata = "header"
	case "header", "path", "root", "none":
	default:
		return nil, fmt.Errorf("metadata %q is not header, path, root or none", o.Metadata)
	}
	id, err := url.Parse(o.ResourceID)
	if err != nil {
		return nil, fmt.Errorf("resource identifier: %w", err)
	}
	if o.Pages == nil {
		o.Pages = documentation()
	}
	if o.Log == nil {
		o.Log = new(Log)
	}
	o.DPoP = o.DPoP || o.DPoPNonce
	if o.CertificateBound {
		if o.TLS == nil {
			return nil, errors.New("client certificates need TLS")
		}
		o.TLS = asking(o.TLS, nil)
	}
	l, origin, err := listen(o.Listen, o.TLS)
	if err != nil {
		return nil, err
	}
	s := &Resource{URL: origin, Log: o.Log, options: o, idPath: strings.TrimSuffix(id.Path, "/"), proofs: newProofs(origin, o.DPoPNonce)}
	s.server = serve(l, o.TLS, s)
	return s, nil
}

// Close stops the server and waits for its handlers.
func (s *Resource) Close() { s.server.close() }

// ServeHTTP answers as the started server does, for a client that has no network.
func (s *Resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Log.record("resource", s.route(r.URL.Path), w, r)
}

// Protect lets only requests with an acceptable token reach h, and challenges the others: for a
// handler in [ResourceOptions.Handle].
func (s *Resource) Protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.admit(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

const (
	wellKnown  = "/.well-known/oauth-protected-resource"
	signInPath = "/sign-in"
)

func (s *Resource) route(path string) http.Handler {
	if h := s.options.Handle[path]; h != nil {
		return h
	}
	if suffix, ok := strings.CutPrefix(path, wellKnown); ok && s.options.Issuer != nil {
		if id, ok := s.identifier(suffix); ok {
			return s.metadata(id)
		}
		return http.HandlerFunc(notFound)
	}
	page, ok := s.options.Pages[path]
	switch {
	case !ok && path == signInPath && s.options.ChallengeStatus == http.StatusFound:
		return http.HandlerFunc(signIn)
	case !ok && !s.protected(path):
		return http.HandlerFunc(notFound)
	case !ok:
		return s.Protect(http.HandlerFunc(notFound))
	case !s.protected(path):
		return page
	}
	return s.Protect(page)
}

func (s *Resource) protected(path string) bool {
	for _, prefix := range s.options.Public {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return s.options.Issuer != nil
}

// identifier returns the resource whose metadata is at the well-known URL with that suffix.
func (s *Resource) identifier(suffix string) (id string, ok bool) {
	o := s.options
	switch o.Metadata {
	case "header":
		return s.id(), suffix == s.idPath
	case "root":
		return s.id(), suffix == ""
	case "path":
		if o.ResourceID != "" {
			return s.id(), suffix != "" && suffix == s.idPath
		}
		_, isPage := o.Pages[suffix]
		return s.URL + suffix, isPage && s.protected(suffix)
	}
	return "", false
}

func (s *Resource) id() string {
	if s.options.ResourceID != "" {
		return s.options.ResourceID
	}
	return s.URL
}

// audience lists the identifiers that this resource publishes.
func (s *Resource) audience() []string {
	if s.options.Metadata != "path" || s.options.ResourceID != "" {
		return []string{s.id()}
	}
	var ids []string
	for path := range s.options.Pages {
		ids = append(ids, s.URL+path)
	}
	return ids
}

// metadata is RFC 9728 §2.
func (s *Resource) metadata(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{
			"resource":                 id,
			"authorization_servers":    []string{s.options.Issuer.URL},
			"bearer_methods_supported": []string{"header"},
			"resource_name":            "Harbour documentation",
		}
		if len(s.options.Scopes) > 0 {
			m["scopes_supported"] = s.options.Scopes
		}
		if s.options.DPoP {
			m["dpop_bound_access_tokens_required"] = true
			m["dpop_signing_alg_values_supported"] = []string{"ES256"}
		}
		if s.options.CertificateBound {
			m["tls_client_certificate_bound_access_tokens"] = true
		}
		if s.options.EditMetadata != nil {
			s.options.EditMetadata(m)
		}
		note(w, "protected resource metadata")
		writeJSON(w, http.StatusOK, m)
	}
}

// ServeHTTP serves the page, whatever the method.
func (p Page) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, values := range p.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	contentType := p.ContentType
	if contentType == "" {
		contentType = "text/html; charset=utf-8"
	}
	w.Header().Set("Content-Type", contentType)
	status := p.Status
	if status == 0 {
		status = http.StatusOK
	}
	note(w, "page served")
	w.WriteHeader(status)
	_, _ = w.Write(p.Body)
}
