package oauthtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	maxPage = 1 << 20
	maxHops = 10
)

// page is what the browser shows after all redirects.
type page struct {
	url     *url.URL
	visited []*url.URL // every URL on the way, this one last
	status  int
	body    []byte
	policy  string // Referrer-Policy of the last answer
}

// navigate does what a browser does for a link (from nil: an address typed in) or a form, with the
// headers a browser sends. The redirects are followed here because http.Client repeats Origin.
func (p *Person) navigate(ctx context.Context, what string, from *page, method string, target *url.URL, form url.Values) (*page, error) {
	next, site, policy := &page{url: target}, "none", ""
	if from != nil {
		policy = from.policy
	}
	for range maxHops {
		next.visited = append(next.visited, next.url)
		if from != nil {
			site = worse(site, siteOf(from.url, next.url))
		}
		req, err := request(ctx, method, next.url, form)
		if err != nil {
			return nil, err
		}
		setOrigin(req, from, policy, site)
		again, err := p.send(req, what, next)
		if err != nil || again == nil {
			return next, err
		}
		// Fetch §4.4: a POST becomes a GET, save after 307 and 308.
		if next.status != http.StatusTemporaryRedirect && next.status != http.StatusPermanentRedirect && method == http.MethodPost {
			method, form = http.MethodGet, nil
		}
		if from == nil {
			site = worse(site, siteOf(next.url, again))
		}
		// Referrer Policy §8.1: a redirect may change the policy of the request.
		if next.policy != "" {
			policy = next.policy
		}
		next.url, what = again, "is redirected"
	}
	return nil, fmt.Errorf("more than %d redirects from %s", maxHops, target.Redacted())
}

func request(ctx context.Context, method string, target *url.URL, form url.Values) (*http.Request, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Accept-Language", "en")
	req.Header.Set("User-Agent", "oauthtest-person")
	return req, nil
}

// send fills in next and returns where the answer redirects to, nil for nowhere.
func (p *Person) send(req *http.Request, what string, next *page) (*url.URL, error) {
	resp, err := p.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	next.status = resp.StatusCode
	if p.Log != nil {
		p.Log.Add(Event{
			Server: "person", Method: req.Method, Path: req.URL.Path, RawQuery: req.URL.RawQuery, Query: req.URL.Query(),
			Header: req.Header, Status: resp.StatusCode, Note: what,
		})
	}
	next.policy = resp.Header.Get("Referrer-Policy")
	if location := resp.Header.Get("Location"); location != "" && resp.StatusCode/100 == 3 {
		again, err := next.url.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("redirect from %s: %w", next.url.Redacted(), err)
		}
		if again.Scheme != "http" && again.Scheme != "https" {
			return nil, fmt.Errorf("redirect from %s leads to scheme %q", next.url.Redacted(), again.Scheme)
		}
		return again, nil
	}
	if next.body, err = io.ReadAll(io.LimitReader(resp.Body, maxPage)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", next.url.Redacted(), err)
	}
	return nil, nil
}

// setOrigin adds Origin (Fetch §3.2), Referer (Referrer Policy §8) and the Sec-Fetch headers.
func setOrigin(req *http.Request, from *page, policy, site string) {
	req.Header.Set("Sec-Fetch-Site", site)
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	if from == nil {
		return
	}
	same := originOf(from.url) == originOf(req.URL)
	downgrade := from.url.Scheme == "https" && req.URL.Scheme != "https"
	origin, full := originOf(from.url), *from.url
	full.Fragment, full.User = "", nil

	sendOrigin, referer := !downgrade, ""
	switch policy {
	case "no-referrer":
		sendOrigin = false
	case "same-origin":
		if sendOrigin = same; same {
			referer = full.String()
		}
	case "origin":
		sendOrigin, referer = true, origin+"/"
	case "strict-origin":
		if !downgrade {
			referer = origin + "/"
		}
	case "unsafe-url":
		sendOrigin, referer = true, full.String()
	default: // strict-origin-when-cross-origin
		if same {
			referer = full.String()
		} else if !downgrade {
			referer = origin + "/"
		}
	}
	if referer != "" {
		req.Header.Set("Referer", referer)
	}
	if req.Method == http.MethodPost {
		if !sendOrigin {
			origin = "null"
		}
		req.Header.Set("Origin", origin)
	}
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// siteOf is Sec-Fetch-Site for one step; hosts that differ are taken for different sites.
func siteOf(from, to *url.URL) string {
	switch {
	case originOf(from) == originOf(to):
		return "same-origin"
	case from.Scheme == to.Scheme && from.Hostname() == to.Hostname():
		return "same-site"
	}
	return "cross-site"
}

// worse: a chain of redirects is as foreign as its most foreign step.
func worse(a, b string) string {
	rank := map[string]int{"none": 0, "same-origin": 1, "same-site": 2, "cross-site": 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
