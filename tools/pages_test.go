package tools

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/render"
)

// readAll reads a page as a model does, by next_start_index.
func readAll(t *testing.T, tool *Webfetch, args map[string]any) (text string, calls int) {
	t.Helper()
	for calls < 1000 {
		res := handle(t, tool, args)
		calls++
		text += partsOf(t, textOf(t, res)).content
		next, more := factsOf(t, res)["next_start_index"]
		if !more {
			return text, calls
		}
		args["start_index"] = next
	}
	t.Fatal("the page does not end")
	return "", 0
}

func TestPagesJoin(t *testing.T) {
	texts := map[string]string{
		"lines":       strings.Repeat("A line of some length.\n\n\nAnother.\n", 200),
		"no lines":    strings.Repeat("héllo🇫🇷", 1500),
		"CJK":         strings.Repeat("漢字かな\n", 900),
		"blank lines": strings.Repeat("\n", 3000),
		"spaces":      strings.Repeat("   \t\n ", 700) + "  ",
	}
	for name, want := range texts {
		for _, max := range []int{1000, 1024} {
			t.Run(fmt.Sprintf("%s, %d", name, max), func(t *testing.T) {
				s := serving(200, "text/plain; charset=utf-8", want)
				s.answer = func(*http.Request) (*http.Response, error) {
					return page(200, "text/plain; charset=utf-8", want), nil
				}
				got, calls := readAll(t, newTool(s, Options{}), map[string]any{"url": "https://docs.example/", "max_length": max})
				if got != want {
					t.Errorf("the joined pages differ from the text: %d and %d bytes", len(got), len(want))
				}
				if n := len(s.requests()); n != 1 || calls < 3 {
					t.Errorf("%d calls were %d requests, want one", calls, n)
				}
			})
		}
	}
}

func longSite() *site {
	return &site{answer: func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/short" {
			return page(200, "text/plain", "short"), nil
		}
		return page(200, "text/html", "<p>"+strings.Repeat("word ", 1000)), nil
	}}
}

func TestSecondPage(t *testing.T) {
	type args = map[string]any
	base := func(more args) args {
		a := args{"url": "https://docs.example/", "max_length": 100}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	tests := map[string]struct {
		second  args
		who     principal.ID
		fetches int // of the second call
	}{
		"next":             {base(args{"start_index": 100}), principal.Local, 0},
		"other length":     {base(args{"start_index": 100, "max_length": 400000}), principal.Local, 0},
		"from the start":   {base(nil), principal.Local, 1},
		"other format":     {base(args{"start_index": 100, "format": "text"}), principal.Local, 1},
		"other URL":        {base(args{"start_index": 100, "url": "https://docs.example/?x"}), principal.Local, 1},
		"other principal":  {base(args{"start_index": 100}), "mallory", 1},
		"another spelling": {base(args{"start_index": 100, "url": "HTTPS://docs.example:443"}), principal.Local, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := longSite()
			tool := newTool(s, Options{})
			handle(t, tool, base(nil))
			res, err := tool.Handle(principal.With(t.Context(), test.who), request(test.second))
			if err != nil || res.IsError {
				t.Fatalf("%v, %v", res, err)
			}
			if n := len(s.requests()) - 1; n != test.fetches {
				t.Errorf("the second call fetched %d times, want %d", n, test.fetches)
			}
		})
	}
}

func TestPageLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := longSite()
		tool := newTool(s, Options{})
		first := map[string]any{"url": "https://docs.example/", "max_length": 100}
		second := map[string]any{"url": "https://docs.example/", "max_length": 100, "start_index": 100}
		handle(t, tool, first)
		time.Sleep(5*time.Minute - time.Second)
		handle(t, tool, second)
		if n := len(s.requests()); n != 1 {
			t.Errorf("%d requests within five minutes, want 1", n)
		}
		time.Sleep(2 * time.Second) // five minutes from the fetch, not from the last use
		handle(t, tool, second)
		if n := len(s.requests()); n != 2 {
			t.Errorf("%d requests after five minutes, want 2", n)
		}
		// A new first page takes the place of the old one.
		time.Sleep(4 * time.Minute)
		handle(t, tool, first)
		time.Sleep(4 * time.Minute)
		handle(t, tool, second)
		if n := len(s.requests()); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		// What is of no use any more is not kept.
		time.Sleep(6 * time.Minute)
		handle(t, tool, map[string]any{"url": "https://docs.example/short"})
		if n, bytes := len(tool.pages.entries), tool.pages.bytes; n != 0 || bytes != 0 {
			t.Errorf("%d pages of %d bytes are kept", n, bytes)
		}
	})
}

func TestErrorsAndShortPagesAreNotKept(t *testing.T) {
	s := serving(500, "text/plain", strings.Repeat("word ", 1000))
	tool := newTool(s, Options{})
	handle(t, tool, map[string]any{"url": "https://docs.example/", "max_length": 100})
	tool.client = newTool(longSite(), Options{}).client
	handle(t, tool, map[string]any{"url": "https://docs.example/short", "max_length": 100})
	if n := len(tool.pages.entries); n != 0 {
		t.Errorf("%d pages are kept", n)
	}
}

func TestPagesAreBounded(t *testing.T) {
	var p pages
	doc := func(size int) *document {
		return &document{Document: render.Document{Text: strings.Repeat("x", size)}}
	}
	key := func(i int) pageKey { return pageKey{principal.Local, fmt.Sprint(i), render.Markdown} }
	check := func() {
		t.Helper()
		sum := 0
		for _, e := range p.entries {
			sum += len(e.doc.Text)
		}
		if sum != p.bytes || sum > pageBytes || len(p.entries) > pageCount {
			t.Fatalf("%d pages of %d bytes, counted as %d", len(p.entries), sum, p.bytes)
		}
	}
	for i := range 100 {
		p.put(key(i), doc(1000), 10)
		check()
	}
	if p.get(key(99)) == nil || p.get(key(68)) == nil || p.get(key(67)) != nil {
		t.Error("not the newest 32 are kept")
	}
	for i := range 10 {
		p.put(key(i), doc(10<<20), 10)
		check()
	}
	if p.get(key(9)) == nil || p.get(key(99)) != nil {
		t.Error("large pages do not displace older ones")
	}
	p.put(key(9), doc(pageBytes+1), 10)
	check()
	if p.get(key(9)) != nil {
		t.Error("a page larger than the bound is kept, or its old version is")
	}
}

func TestPagesConcurrently(t *testing.T) {
	tool := newTool(longSite(), Options{})
	ctx := local(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for _, start := range []int{0, 100} {
				_, err := tool.Handle(ctx, request(map[string]any{"url": fmt.Sprintf("https://docs.example/%d", i%40), "max_length": 100, "start_index": start}))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
