package tlsmat

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/workload"
)

// attempt is what the last look found.
type attempt struct {
	loaded sum    // what current was made of
	stage  string // of the expiry that was last warned of

	// While current is not what the inputs say:
	failed   sum       // the inputs, with the files' modes, that could not be loaded
	asked    time.Time // when they were last tried
	err      error     // the outcome
	reported string    // what was logged of it
}

// askAgain is how long a program that gives a passphrase is left alone after it was asked in vain:
// it may have to ask a person.
const askAgain = time.Minute

var (
	causeChanging = catalogue.Cause{ID: "reload.changing", Code: "tls.files_changing",
		Says:   "or another file of the entry was written to while they were read, again and again",
		Remedy: "have the files written beside their places and renamed into them, all at once"}
	reloadCauses = []catalogue.Cause{causeChanging}
)

// open is the first load. A pair that does not fit together may be about to.
func (s *Source) open(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.load(ctx)
		var fail *LoadError
		if err == nil || try == tries || !errors.As(err, &fail) || fail.Code() != "tls.key_mismatch" || !sleep(ctx, s.pause) {
			return err
		}
	}
}

// reload loads what has changed. What cannot be loaded leaves everything as it was.
func (s *Source) reload(ctx context.Context) {
	known := s.last.err
	for try := 1; ; try++ {
		err := s.load(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.warnOfExpiry()
			return
		case try == tries || known != nil && known.Error() == err.Error():
			s.failed(err)
			s.warnOfExpiry()
			return
		}
		if !sleep(ctx, s.pause) {
			return
		}
	}
}

// load publishes new material, unless there is nothing new.
func (s *Source) load(ctx context.Context) error {
	in, now, err := s.gather(ctx)
	if err != nil {
		s.last.failed, s.last.err = sum{}, err
		return err
	}
	defer in.forget()
	if now == s.last.loaded && s.current.Load() != nil {
		s.last.err = nil
		s.recovered()
		return nil
	}
	tried := in.withModes(now)
	if s.last.err != nil && tried == s.last.failed && len(s.entry.PassphraseCommand) > 0 && time.Since(s.last.asked) < askAgain {
		return s.last.err
	}
	s.last.asked = time.Now()
	m, err := build(ctx, s.entry, in)
	if err != nil {
		s.last.failed, s.last.err = tried, err
		return err
	}
	s.last.loaded, s.last.err = now, nil
	s.recovered()
	old := s.publish(m)
	if old == nil { // whoever called Open tells the warnings of the first material, its end among them
		s.last.stage = m.expiryStage(time.Now()).name
		return nil
	}
	s.last.stage = "" // to be told of this material too
	s.tellChange(old, m)
	return nil
}

// publish makes m current and returns what was.
func (s *Source) publish(m *Material) (old *Material) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Generation++
	s.status.Loaded = time.Now()
	return s.current.Swap(m)
}

// tellChange logs that m is used now, and what is wrong with it that was not with the old.
func (s *Source) tellChange(old, m *Material) {
	about := []any{slog.Int("generation", s.Status().Generation)}
	if leaf := m.Leaf(); leaf != nil {
		about = append(about, slog.String("subject", sanitize.Line(leaf.Subject.String(), 400)),
			slog.String("serial", leaf.SerialNumber.Text(16)), slog.Time("not_after", leaf.NotAfter))
	}
	s.log.Info("the TLS material has changed; new requests use it", about...)
	known := append(old.Warnings(), m.expiryStage(time.Now()).says)
	for _, f := range m.findings(time.Now()) {
		if !slices.Contains(known, f.says) {
			s.warn("the new TLS material may give trouble", f)
		}
	}
}

// warnOfExpiry warns once for each stage that is reached, beginning after that of the first load.
func (s *Source) warnOfExpiry() {
	now := s.Current().expiryStage(time.Now())
	if now.name == s.last.stage {
		return
	}
	s.last.stage = now.name
	if now.name == "" { // the clock was set back
		return
	}
	s.warn("a certificate of the TLS material comes to its end", now.finding)
}

func (s *Source) warn(message string, f finding) {
	s.log.Warn(message, slog.String("warning", f.says), slog.String("code", f.code), slog.String("hint", f.remedy))
}

// failed notes that what is there now cannot be loaded, and tells it once.
func (s *Source) failed(err error) {
	s.mu.Lock()
	s.status.Failure = err
	if s.status.Failed.IsZero() {
		s.status.Failed = time.Now()
	}
	s.mu.Unlock()
	s.withdraw(err)
	if s.last.reported == err.Error() {
		return
	}
	s.last.reported = err.Error()
	about := []any{slog.String("error", sanitize.Line(err.Error(), 1000))}
	var fail *LoadError
	if errors.As(err, &fail) {
		about = append(about, slog.String("code", fail.Code()), slog.String("hint", fail.Hint()))
	}
	message := "the TLS material cannot be loaded anew; the former stays in use"
	if s.Current().withdrawn != nil {
		message = "the TLS material cannot be loaded anew; the identity of the former was withdrawn and is not used"
	}
	s.log.Warn(message, about...)
}

// withdraw ends the use of an identity that its issuer has taken back, as a Workload API can: other
// failures say nothing about what was loaded before them (SPIFFE Workload API §5.2.1).
func (s *Source) withdraw(err error) {
	m := s.current.Load()
	known, ok := errors.AsType[coded](err)
	if !ok || known.Code() != workload.CodeDenied || m.withdrawn != nil {
		return
	}
	without := *m
	without.withdrawn = known
	s.last.loaded = sum{} // the same identity may be given again
	s.publish(&without)
}

// recovered ends a failure.
func (s *Source) recovered() {
	s.mu.Lock()
	since := s.status.Failed
	s.status.Failure, s.status.Failed = nil, time.Time{}
	s.mu.Unlock()
	s.last.reported = ""
	if !since.IsZero() {
		s.log.Warn("the TLS material can be loaded again", slog.Duration("after", time.Since(since).Round(time.Second)))
	}
}

// sleep reports whether it lasted as long as asked.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
