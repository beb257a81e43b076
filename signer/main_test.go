package signer

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary acts as a signer, or as a program that uses one, when this is its first argument. A
// way to behave and a directory follow.
const (
	asSigner = "act as a signer"
	asUser   = "use a signer"
)

const canary = "CANARY-5e1f-from-inside-the-signer"

func TestMain(m *testing.M) {
	if len(os.Args) >= 4 {
		switch os.Args[1] {
		case asSigner:
			act(os.Args[2], os.Args[3])
			return
		case asUser:
			use(os.Args[2], os.Args[3])
			return
		}
	}
	// Those we start need not wait a second at their end for races to be told.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// actor is the signer for tests. It records its starts and what it was asked in its directory.
type actor struct {
	how, dir string
	key      crypto.Signer
	chain    [][]byte
	mu       sync.Mutex
	held     []map[string]any
}

func act(how, dir string) {
	note(dir, "starts", fmt.Sprintf("%d %d", os.Getpid(), time.Now().UnixNano()))
	a := &actor{how: how, dir: dir, key: readKey(filepath.Join(dir, "client.key")), chain: readChain(filepath.Join(dir, "client.pem"))}
	switch how {
	case "dies at once":
		os.Exit(3)
	case "dies if told to":
		if _, err := os.Stat(filepath.Join(dir, "die")); err == nil {
			os.Exit(4)
		}
	case "banner":
		fmt.Println("Using slot 0 with " + canary)
	case "stderr":
		for range 20_000 { // more than a pipe holds
			fmt.Fprintln(os.Stderr, canary)
		}
	case "parent": // of one who holds stdin and stdout and does not end
		c := exec.Command("sleep", "1000")
		c.Stdin, c.Stdout = os.Stdin, os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		note(dir, "child", fmt.Sprint(c.Process.Pid))
	case "reads nothing":
		select {}
	}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		note(dir, "requests", strings.TrimSpace(string(line)))
		var q map[string]any
		if err := json.Unmarshal(line, &q); err != nil {
			os.Exit(5)
		}
		a.handle(q)
	}
	if how == "deaf" {
		time.Sleep(time.Hour)
	}
	note(dir, "ends", "in order")
}

func (a *actor) handle(q map[string]any) {
	id := q["id"]
	switch q["method"] {
	case "hello":
		switch a.how {
		case "silent":
		case "new":
			a.say(map[string]any{"id": id, "protocol": 2})
		default:
			a.say(map[string]any{"id": id, "protocol": 1, "vendor": map[string]any{"unknown": []int{1}}})
		}
	case "chain":
		a.say(a.chainAnswer(id))
	case "sign":
		a.sign(q)
	}
}

func (a *actor) chainAnswer(id any) map[string]any {
	spki, err := x509.MarshalPKIXPublicKey(a.key.Public())
	if err != nil {
		panic(err)
	}
	switch a.how {
	case "no chain":
		return map[string]any{"id": id, "chain": []any{}, "public_key": spki}
	case "no key":
		return map[string]any{"id": id, "chain": []any{}}
	}
	return map[string]any{"id": id, "chain": a.chain}
}

func (a *actor) sign(q map[string]any) {
	id := q["id"]
	switch a.how {
	case "dies":
		os.Exit(3)
	case "leaves somebody": // who has left the group and holds stdout
		c := exec.Command("setsid", "sleep", "5")
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			panic(err)
		}
		note(a.dir, "child", fmt.Sprint(c.Process.Pid))
		time.Sleep(300 * time.Millisecond) // until it has left
		os.Exit(3)
	case "answers and goes": // as much as a pipe holds is yet to be read
		filler := bytes.Repeat([]byte("{\"id\":1,\"x\":[[],[],[],[]]}\n"), 2300)
		_, _ = os.Stdout.Write(filler)
		a.say(a.signed(q))
		os.Exit(0)
	case "closes its output":
		_ = os.Stdout.Close()
	case "hangs", "deaf and hangs":
	case "hangs at the first":
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.held = append(a.held, q); len(a.held) > 1 {
			a.say(a.signed(q))
		}
	case "garbage":
		fmt.Println(canary + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(canary)})))
	case "garbage in JSON":
		a.say(map[string]any{"id": id, "signature": map[string]any{canary: canary}})
	case "half a line":
		fmt.Print(`{"id":3,"signature":"` + canary)
		os.Exit(6)
	case "huge line":
		fmt.Println(`{"id":3,"signature":"` + strings.Repeat("A", maxLine) + `"}`)
	case "wrong id":
		a.say(map[string]any{"id": 1000, "signature": "AAAA"})
	case "no id":
		a.say(map[string]any{"error": canary})
	case "no signature":
		a.say(map[string]any{"id": id})
	case "refuses":
		a.say(map[string]any{"id": id, "error": "the card\n\x1b[31mwas \"removed\""})
	case "refuses for now":
		a.say(map[string]any{"id": id, "error": "nobody touched it", "retryable": true})
	case "wrong key":
		a.key = newKey(a.key.Public())
		a.say(a.signed(q))
	case "spoilt":
		r := a.signed(q)
		s := r["signature"].([]byte)
		s[len(s)-1] ^= 1
		a.say(r)
	case "backwards": // all of a group of ten, the last first
		if a.held = append(a.held, q); len(a.held) == 10 {
			slices.Reverse(a.held)
			for _, q := range a.held {
				a.say(a.signed(q))
			}
			a.held = nil
		}
	case "slow":
		go func() { time.Sleep(300 * time.Millisecond); a.say(a.signed(q)) }()
	default:
		go func() { a.say(a.signed(q)) }()
	}
}

// signed does what the request says, with Go's own keys.
func (a *actor) signed(q map[string]any) map[string]any {
	hash := map[string]crypto.Hash{"none": 0, "SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512}[q["hash"].(string)]
	var opts crypto.SignerOpts = hash
	if q["padding"] == "pss" {
		opts = &rsa.PSSOptions{Hash: hash, SaltLength: int(q["salt_length"].(float64))}
	}
	member := "digest"
	if hash == 0 {
		member = "message"
	}
	s, err := a.key.Sign(rand.Reader, decode(q[member].(string)), opts)
	if err != nil {
		return map[string]any{"id": q["id"], "error": err.Error()}
	}
	return map[string]any{"id": q["id"], "signature": s}
}

func (a *actor) say(v map[string]any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(line, '\n')) // one write: lines of several do not mix
}

func note(dir, name, line string) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}

func noted(t *testing.T, dir, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(bytes.TrimSpace(b)), "\n")
}
