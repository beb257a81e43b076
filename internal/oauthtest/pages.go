package oauthtest

import (
	"html/template"
	"net/http"
)

// subject is the person who has an account at every [Issuer].
const subject = "alice"

var pages = template.Must(template.New("").Parse(`
{{define "head"}}<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{.}}</title></head><body><main><h1>{{.}}</h1>{{end}}
{{define "foot"}}</main></body></html>{{end}}

{{define "message"}}{{template "head" .Title}}<p>{{.Text}}</p>{{template "foot"}}{{end}}

{{define "decision"}}{{template "head" .Title}}
<p>{{.Client}} asks for access to {{range $i, $r := .Resources}}{{if $i}}, {{end}}{{$r}}{{else}}your account{{end}}.</p>
{{with .Scopes}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
<form method="post" action="{{.Action}}"><input type="hidden" name="request" value="{{.Request}}">
<button name="action" value="approve">Approve</button> <button name="action" value="deny">Deny</button></form>{{template "foot"}}{{end}}

{{define "code"}}{{template "head" .Title}}
<form method="post" action="{{.Action}}"><label>Code <input name="user_code" value="{{.Code}}" autocomplete="off"></label>
<button name="action" value="next">Next</button></form>{{template "foot"}}{{end}}
`))

type decisionPage struct {
	Title, Client, Action, Request string
	Resources, Scopes              []string
}

type codePage struct{ Title, Action, Code string }

func writePage(w http.ResponseWriter, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data) // an error here is the client's that went away
}

func writeMessage(w http.ResponseWriter, status int, title, text string) {
	writePage(w, status, "message", struct{ Title, Text string }{title, text})
}

// sameOrigin refuses a form that another site posted.
func (i *Issuer) sameOrigin(w http.ResponseWriter, r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != i.origin {
		note(w, "refused: form posted from origin %s", origin)
		writeMessage(w, http.StatusForbidden, "Not allowed", "This form was sent by another site.")
		return false
	}
	return true
}

func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	note(w, "refused: method %s", r.Method)
	for _, m := range methods {
		w.Header().Add("Allow", m)
	}
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}
