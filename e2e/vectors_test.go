package e2e

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// vector is one way in which a server, a site's page in the person's browser or another program on
// this computer is hostile, and what has to come of it.
type vector struct {
	id, what string
	run      func(t *testing.T)
}

// vectors are all of them: D discovery, W WWW-Authenticate, A authorization request and callback, V device code.
func vectors() []vector {
	return slices.Concat(slowVectors(), discoveryVectors(), challengeVectors(), requestVectors(), callbackVectors(), deviceVectors())
}

// ids are the rows that must be there.
const ids = "D01 D02 D03 D05 D07 D08 D09 D10 D11 D12 D13 D14 D15 D16 D17 D18 D19 D20 D21 D22 D23 D25 D27 D29 D30 D31 D32 D33 D34 D35 " +
	"W01 W02 W03 W04 W05 W06 W07 W08 W09 W10 W11 W12 W13 W14 W15 W16 " +
	"A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A11 A12 A13 A14 " +
	"A20 A21 A22 A23 A24 A25 A26 A27 A28 A29 A30 A31 A32 A33 A34 A35 A36 " +
	"V01 V02 V03 V04 V05 V06 V07 V08 V09 V10 V11 V12 V13 V14"

func TestVectors(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("the roots that strangers' certificates are checked against cannot be set here with SSL_CERT_FILE")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, 8) // most of them wait for something
	for _, v := range vectors() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(v.id+" "+v.what, v.run)
		})
	}
}

func TestEveryVectorIsThere(t *testing.T) {
	there := map[string]bool{}
	named := map[string]bool{}
	for _, v := range vectors() {
		name := v.id + " " + v.what
		if named[name] || v.run == nil || !strings.Contains(ids, v.id) {
			t.Errorf("%s stands there twice, does nothing or has an id that is not listed", name)
		}
		named[name], there[v.id] = true, true
	}
	for id := range strings.FieldsSeq(ids) {
		if !there[id] {
			t.Errorf("no vector has the id %s", id)
		}
	}
}

// row is a vector of one fetch.
type row struct {
	id, what string
	set      func(s *stage, o *scene)
	config   func(s *stage) // nil: as the scene has it
	// want is what the fetch gives: "page" once the person has signed in, "login_required", or a code.
	want string
	// quiet: the issuer is not even asked for metadata.
	quiet bool
	then  func(s *stage, a *agent, got answer) // nil: that is all
}

func (r row) vector() vector { return vector{r.id, r.what, r.run} }

func (r row) run(t *testing.T) {
	s := newStage(t, r.set)
	if r.config != nil {
		r.config(s)
	}
	a := s.agent()
	began := time.Now()
	got := a.fetch(s.page(), 0)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the answer took %s", took)
	}
	s.checkText(got)
	switch r.want {
	case "page":
		if got.Status != "login_required" || got.Login.URL == "" {
			t.Fatalf("got %+v, want a link", got)
		}
		s.checkUntouched()
		must(t, s.person.Continue(t.Context(), got.Login.URL))
		s.read(a)
	case "login_required":
		if got.Status != r.want {
			t.Fatalf("got %+v, want a sign-in", got)
		}
		s.checkUntouched()
	default:
		if got.ErrorCode != r.want || !got.IsError {
			t.Errorf("got %+v, want the error %s", got, r.want)
		}
		s.checkUntouched()
		if len(s.opens()) > 0 {
			t.Errorf("a browser was opened: %q", s.opens())
		}
	}
	if n := s.log.Count("issuer", "", ""); r.quiet && n > 0 {
		t.Errorf("the issuer received %d requests", n)
	}
	s.trap.check(t)
	if r.then != nil {
		r.then(s, a, got)
	}
}

func rows(all ...row) (vs []vector) {
	for _, r := range all {
		vs = append(vs, r.vector())
	}
	return vs
}

// slowVectors wait for a clock, and begin first.
func slowVectors() []vector {
	return append([]vector{{"A27", "an answer comes too late", lateAnswer}}, slowDeviceVectors()...)
}
