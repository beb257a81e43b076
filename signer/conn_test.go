package signer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dialog connects a conn to a function that plays the signer: it gets each line and returns what to
// write; nil reads nothing. Both end with the bubble.
func dialog(t *testing.T, answer func(line string, out io.Writer)) *conn {
	t.Helper()
	c := newConn(`"test"`)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go func() {
		lines := bufio.NewScanner(inR)
		lines.Buffer(nil, 2*maxLine)
		for answer != nil && lines.Scan() {
			answer(lines.Text(), outW)
		}
	}()
	go func() { _ = c.write(inW) }()
	go func() {
		if err := c.read(outR); err != nil {
			c.fail(err)
		}
	}()
	t.Cleanup(func() {
		c.fail(io.EOF)
		_, _ = inW.Close(), outW.Close()
		_ = outR.Close()
	})
	return c
}

func TestCallTimes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(line string, out io.Writer)
		limit  time.Duration // of the caller, 0: none
		after  time.Duration
		ours   bool // the limit that ends it
		stuck  bool
	}{
		{"silence", func(string, io.Writer) {}, 0, 30 * time.Second, true, true},
		{"silence, and a caller in a hurry", func(string, io.Writer) {}, 5 * time.Second, 5 * time.Second, false, false},
		{"does not read", nil, 0, 30 * time.Second, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := dialog(t, tt.answer)
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				began := time.Now()
				_, err := c.call(ctx, usual.sign, request{Method: "sign"})
				if took := time.Since(began); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
				if _, ours := errors.AsType[*Error](err); !errors.Is(err, context.DeadlineExceeded) || ours != tt.ours {
					t.Errorf("error is %v, want ours: %v", err, tt.ours)
				}
				if got := c.failure() != nil; got != tt.stuck {
					t.Errorf("ended: %v, want %v", got, tt.stuck)
				}
			})
		})
	}
}

// Of two requests one is answered: the other one's time ends it alone, and its late answer is of no harm.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dialog(t, func(line string, out io.Writer) {
			if strings.Contains(line, `"id":1,`) {
				time.AfterFunc(40*time.Second, func() { _, _ = io.WriteString(out, `{"id":1,"signature":"late"}`+"\n") })
				return
			}
			_, _ = io.WriteString(out, `{"id":`+strings.TrimSuffix(strings.TrimPrefix(line, `{"id":`), `,"method":"sign"}`)+`,"signature":"ok"}`+"\r\n\n")
		})
		first := make(chan error)
		go func() {
			_, err := c.call(t.Context(), usual.sign, request{Method: "sign"})
			first <- err
		}()
		synctest.Wait()
		if r, err := c.call(t.Context(), usual.sign, request{Method: "sign"}); err != nil || r.Signature != "ok" {
			t.Fatalf("%v, %v", r, err)
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first: %v", err)
		}
		if n := len(c.waiting); n != 0 {
			t.Errorf("%d are still waited for", n)
		}
		time.Sleep(time.Minute)
		if r, err := c.call(t.Context(), usual.sign, request{Method: "sign"}); err != nil || r.Signature != "ok" {
			t.Errorf("after the late answer: %v, %v", r, err)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dialog(t, func(string, io.Writer) {})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.call(ctx, usual.ask, request{Method: "chain"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if c.failure() != nil {
			t.Error("a caller that gives up ends the signer")
		}
	})
}

func TestRead(t *testing.T) {
	long := func(n int) string {
		return `{"id":1,"x":"` + strings.Repeat("a", n-len(`{"id":1,"x":""}`)) + `"}` + "\n"
	}
	for _, tt := range []struct {
		name, output, says string // "": no error
	}{
		{"nothing", "", ""},
		{"an answer", `{"id":1}` + "\n", ""},
		{"line ends", "\n\r\n" + `{"id":1}` + "\r\n \t{\"id\":2}\n", ""},
		{"a second answer", `{"id":1}` + "\n" + `{"id":1}` + "\n", ""},
		{"unknown members", `{"id":1,"new":[{"a":null}],"Signature":5}` + "\n", ""},
		{"null", `{"id":1,"error":null,"chain":null}` + "\n", ""},
		{"cut off by the end", `{"id":1}` + "\n" + `{"id":` + canary, ""},
		{"as long as may be", long(maxLine), ""},
		{"longer", long(maxLine + 1), "line 1 of what the signer \"test\" wrote is longer than 1 MiB"},
		{"longer, the third", "\n\n" + long(maxLine+1), "line 3 "},
		{"endless", strings.Repeat("a", 3*maxLine), "is longer than 1 MiB"},
		{"text", canary + "\n", "is not a JSON object"},
		{"an array", "[1]\n", "is not a JSON object"},
		{"not closed", `{"id":1` + "\n", "is not valid JSON"},
		{"more behind it", `{"id":1} {"id":2}` + "\n", "is not valid JSON"},
		{"a name twice", `{"id":1,"id":2}` + "\n", "is not valid JSON"},
		{"a name of its own twice", `{"id":1,"` + canary + `":1,"` + canary + `":2}` + "\n", "is not valid JSON"},
		{"no UTF-8", "{\"id\":1,\"error\":\"\xff\"}\n", "is not valid JSON"},
		{"wrong type", `{"id":1,"chain":["x",{"` + canary + `":1}]}` + "\n", "has a member chain of the wrong type"},
		{"id as text", `{"id":"1"}` + "\n", "has a member id of the wrong type"},
		{"id below zero", `{"id":-1}` + "\n", "has a member id of the wrong type"},
		{"id zero", `{"id":0}` + "\n", "has no id of a request"},
		{"no id", `{}` + "\n", "has no id of a request"},
		{"id of the future", `{"id":3}` + "\n", "has no id of a request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newConn(`"test"`)
			c.last = 2
			err := c.read(strings.NewReader(tt.output))
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("%v", err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("error %v, want %q", err, tt.says)
			case err != nil && strings.Contains(err.Error(), canary):
				t.Errorf("the error shows the line: %v", err)
			}
		})
	}
}

// Whatever a signer writes, nothing breaks, and no error shows it.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"id":1,"signature":"AAAA"}`, `{"id":2,"error":"x","retryable":true}`, `{"id":1,"chain":["` + canary + `",5]}`, "\r\n\n", `{"id":1e400}`} {
		f.Add([]byte(s + "\n"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newConn(`"test"`)
		c.last = 2
		answer := make(chan *response, 1)
		c.waiting[1] = answer
		if err := c.read(strings.NewReader(string(b))); err != nil {
			e := fault(t, err)
			known := []string{"is not a JSON object", "is not valid JSON", "has no id of a request", "is longer than 1 MiB"}
			for _, m := range []string{"id", "error", "retryable", "protocol", "chain", "public_key", "signature"} {
				known = append(known, "has a member "+m+" of the wrong type")
			}
			for _, k := range known {
				if err.Error() == fmt.Sprintf(`line %d of what the signer "test" wrote %s`, e.Line, k) {
					return
				}
			}
			t.Errorf("%v", err)
		}
		select {
		case r := <-answer:
			_, _, _ = r.identity("test")
		default:
		}
	})
}

func TestPause(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 7: 6400 * time.Millisecond, 8: 10 * time.Second, 9: 10 * time.Second, 1 << 40: 10 * time.Second} {
		if got := pause(failures); got != want {
			t.Errorf("after %d: %v, want %v", failures, got, want)
		}
	}
}

// Who lived long is started again without a pause, however often others died before.
func TestLongLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Process{failures: 5}
		c := &child{conn: newConn(`"test"`), began: time.Now()}
		time.Sleep(9 * time.Second)
		c.fail(io.EOF)
		p.bury(c)
		if p.failures != 6 || !p.notBefore.Equal(time.Now().Add(3200*time.Millisecond)) {
			t.Errorf("after 9 s: %d failures, not before %v", p.failures, time.Until(p.notBefore))
		}
		c = &child{conn: newConn(`"test"`), began: time.Now()}
		time.Sleep(10 * time.Second)
		c.fail(io.EOF)
		p.bury(c)
		if p.failures != 0 || !p.notBefore.IsZero() {
			t.Errorf("after 10 s: %d failures, not before %v", p.failures, p.notBefore)
		}
	})
}
