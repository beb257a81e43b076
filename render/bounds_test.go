package render

import (
	"runtime"
	"strings"
	"testing"
)

// Elements that are never closed must not take hundreds of times the page's size either.
func TestManyOpenElementsAreBounded(t *testing.T) {
	for _, unit := range []string{"<b>", "<b><i>x", "<ul><li>x", "<pre>x", "<form><select><option>x"} {
		body := []byte(strings.Repeat(unit, 2<<20/len(unit)))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		if _, err := Render(Input{Body: body, ContentType: "text/html"}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100*uint64(len(body)) {
			t.Errorf("%s: %d bytes were allocated for a page of %d", unit, allocated, len(body))
		}
	}
}

// A page of very many small elements must not take hundreds of times its size: it is given as text.
func TestManyElementsAreBounded(t *testing.T) {
	body := []byte(strings.Repeat("<dd>x<dt>y", 500_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	doc, err := Render(Input{Body: body, ContentType: "text/html"})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100*uint64(len(body)) {
		t.Errorf("%d bytes were allocated for a page of %d", allocated, len(body))
	}
	if n := strings.Count(doc.Text, "x"); n != 500_000 {
		t.Errorf("%d of 500000 words are left", n)
	}
}
