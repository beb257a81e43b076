package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// person is somebody with a browser and an account: follows links, fills in every form as it asks,
// and presses its first button.
type person struct{ browser *http.Client }

func newPerson(roots *x509.CertPool) *person {
	jar, _ := cookiejar.New(nil) // never fails
	return &person{&http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}}
}

// answers are what the person writes into a field of that name.
var answers = map[string]string{"login": "alice", "password": "correct horse"}

// walk opens a page and goes on until one has no form: a sign-in from its link, or a device code
// from its verification page. It returns the text of the last page.
func (p *person) walk(ctx context.Context, start, userCode string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start, nil)
	if err != nil {
		return "", err
	}
	for range 10 {
		resp, err := p.browser.Do(req)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if err != nil {
			return "", err
		}
		at := resp.Request.URL
		if resp.StatusCode >= http.StatusBadRequest {
			return "", fmt.Errorf("%s%s answers %d: %.1500s", at.Host, at.Path, resp.StatusCode, body)
		}
		form, err := firstForm(at, string(body))
		if err != nil {
			return "", err
		}
		if form == nil {
			return string(body), nil
		}
		for name, value := range answers {
			form.fill(name, value)
		}
		form.fill("user_code", userCode)
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, form.action, strings.NewReader(form.values.Encode())); err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Referer", at.String())
		req.Header.Set("Origin", at.Scheme+"://"+at.Host)
	}
	return "", errors.New("ten pages, and still a form")
}

// form is the first of a page.
type form struct {
	action string
	values url.Values
}

// fill writes into a field that is there and empty.
func (f *form) fill(name, value string) {
	if f.values.Has(name) && f.values.Get(name) == "" {
		f.values.Set(name, value)
	}
}

func firstForm(page *url.URL, text string) (*form, error) {
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var found *form
	var id string
	pressed := false
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "form":
			if found != nil {
				return found, nil
			}
			action, err := page.Parse(attribute(n, "action"))
			if err != nil {
				return nil, err
			}
			found, id = &form{action: action.String(), values: url.Values{}}, attribute(n, "id")
		case "input":
			if name := attribute(n, "name"); found != nil && name != "" {
				found.values.Set(name, attribute(n, "value"))
			}
		case "button":
			of := attribute(n, "form")
			if found == nil || pressed || of != "" && of != id {
				continue
			}
			pressed = true
			if name := attribute(n, "name"); name != "" {
				found.values.Set(name, attribute(n, "value"))
			}
		}
	}
	return found, nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
