package signer

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// The protocol's document has every member that we write or read, our times, and an example of lines
// as they are.
func TestDocs(t *testing.T) {
	docs := string(must(os.ReadFile("../docs/signer.md")))
	if n := strings.Count(docs, "\n"); n > 150 {
		t.Errorf("it has %d lines, want 150 at most", n)
	}
	for _, want := range []string{
		"`id`", "`method`", "`protocol`", "`key_sha256`", "`hash`", "`digest`", "`message`", "`padding`", "`salt_length`",
		"`error`", "`retryable: true`", "`chain`", "`public_key`", "`signature`", "`hello`", "`sign`",
		fmt.Sprintf("`hello`, `chain` | %.0f seconds", usual.ask.Seconds()), fmt.Sprintf("`sign` | %.0f seconds", usual.sign.Seconds()),
		fmt.Sprintf("after %d ms, then %d ms", firstPause.Milliseconds(), 2*firstPause.Milliseconds()), fmt.Sprintf("to %.0f s", longest.Seconds()), "1 MiB", "After two seconds",
	} {
		if !strings.Contains(docs, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	asked, answered := 0, 0
	for line := range strings.Lines(docs) {
		if text, ok := strings.CutPrefix(line, "→ "); ok {
			asked++
			var q request
			if err := json.Unmarshal([]byte(text), &q, json.RejectUnknownMembers(true)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if written, err := q.line(); err != nil || string(written) != text {
				t.Errorf("we write\n%snot\n%s", written, text)
			}
		}
		if text, ok := strings.CutPrefix(line, "← "); ok {
			answered++
			if _, wrong := parse([]byte(strings.TrimSpace(text))); wrong != "" {
				t.Errorf("%s: %s", line, wrong)
			}
			var r response
			if err := json.Unmarshal([]byte(text), &r, json.RejectUnknownMembers(true)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if asked != 4 || answered != 4 {
		t.Errorf("%d requests and %d answers", asked, answered)
	}
}
