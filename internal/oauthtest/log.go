package oauthtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxRecorded is how much of a request body an [Event] keeps, and the most that the endpoints of
// the fakes read.
const maxRecorded = 64 << 10

// Log is what fakes received and people did, in the order of arrival. The zero Log is empty and
// ready; it may be shared and is safe for concurrent use.
type Log struct {
	mu     sync.Mutex // guards events and what the pointers lead to
	events []*Event
}

// Event is one request as a server received it, and how it was answered. It is in the log from
// the moment the request was read; Status is 0 until the answer begins, and stays 0 where the
// connection was dropped instead.
type Event struct {
	Time              time.Time
	Server            string // "resource", "issuer", or "person" for what a [Person] sent
	Method            string
	Path              string
	RawQuery          string
	Query             url.Values
	Form              url.Values  // the body, where it is application/x-www-form-urlencoded
	Header            http.Header // with Host among them
	Body              []byte      // the first 64 KiB
	ClientCertificate string      // common name of the client certificate, "" where there is none
	Status            int
	Note              string // what happened, in words
}

// Add appends e; a zero Time becomes now.
func (l *Log) Add(e Event) { l.begin(e) }

// Events returns all events, oldest first. Their maps and slices are shared: read them only.
func (l *Log) Events() []Event { return l.pick(func(*Event) bool { return true }) }

// Count returns how many requests server received with that method and a path that starts with
// pathPrefix; an empty argument matches all.
func (l *Log) Count(server, method, pathPrefix string) int {
	return len(l.pick(func(e *Event) bool {
		return (server == "" || e.Server == server) && (method == "" || e.Method == method) && strings.HasPrefix(e.Path, pathPrefix)
	}))
}

// Find returns the requests for exactly path that server ("" for any) received, oldest first.
func (l *Log) Find(server, path string) []Event {
	return l.pick(func(e *Event) bool { return (server == "" || e.Server == server) && e.Path == path })
}

// Reset empties the log.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

func (l *Log) pick(match func(*Event) bool) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Event
	for _, e := range l.events {
		if match(e) {
			found = append(found, *e)
		}
	}
	return found
}

func (l *Log) begin(e Event) *Event {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, &e)
	return &e
}

func (l *Log) update(e *Event, change func(*Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(e)
}

// record logs the request that server received and lets h answer it.
func (l *Log) record(server string, h http.Handler, w http.ResponseWriter, r *http.Request) {
	e := Event{
		Server: server, Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Query: r.URL.Query(),
		Header: r.Header.Clone(),
	}
	e.Header.Set("Host", r.Host)
	if r.Body != nil {
		// What cannot be read is not there; the handler meets the same error.
		head, _ := io.ReadAll(io.LimitReader(r.Body, maxRecorded))
		e.Body = head
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	}
	if isForm(r) {
		e.Form, _ = url.ParseQuery(string(e.Body))
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		e.ClientCertificate = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	rec := &recorder{ResponseWriter: w, log: l, event: l.begin(e)}
	h.ServeHTTP(rec, r)
	rec.answered(http.StatusOK)
}

func isForm(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded"
}

// recorder writes the status into the log before the first byte of the answer leaves, so that a
// client that has its answer finds the event complete.
type recorder struct {
	http.ResponseWriter
	log   *Log
	event *Event
	done  bool
}

// note says in words how the request is answered; call it before the answer begins.
func note(w http.ResponseWriter, format string, args ...any) {
	if rec, ok := w.(*recorder); ok {
		rec.log.update(rec.event, func(e *Event) { e.Note = fmt.Sprintf(format, args...) })
	}
}

func (rec *recorder) answered(status int) {
	if rec.done || status < 200 {
		return
	}
	rec.done = true
	rec.log.update(rec.event, func(e *Event) { e.Status = status })
}

func (rec *recorder) WriteHeader(status int) {
	rec.answered(status)
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	rec.answered(http.StatusOK)
	return rec.ResponseWriter.Write(b)
}

// Flush and Hijack let a handler of a test stream, stall or write bytes of its own.
func (rec *recorder) Flush() {
	rec.answered(http.StatusOK)
	_ = http.NewResponseController(rec.ResponseWriter).Flush()
}

func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	rec.done = true
	return http.NewResponseController(rec.ResponseWriter).Hijack()
}

// Unwrap is for [http.ResponseController].
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
