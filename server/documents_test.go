package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDocuments(t *testing.T) {
	inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := documents(map[string][]byte{"/client.json": []byte(`{"client_id":"x"}`), Path: []byte("{}")}, inside)
	for _, tt := range []struct {
		name, method, url string
		status            int
		body              string
	}{
		{"read under the public name", "GET", "https://public.example/client.json", 200, `{"client_id":"x"}`},
		{"head", "HEAD", "https://public.example/client.json", 200, ""},
		{"with a query", "GET", "https://public.example/client.json?x", 200, `{"client_id":"x"}`},
		{"written", "POST", "https://public.example/client.json", 405, "this is a document to read\n"},
		{"another path", "GET", "https://public.example/client.json/", 418, ""},
		{"MCP is never a document", "GET", "https://public.example" + Path, 418, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.url, nil)
			r.Header.Set("Origin", "https://evil.example")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
			if w.Code == 200 && (w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff") {
				t.Errorf("header %v", w.Header())
			}
		})
	}
}
