// Package catalogue has the form of what this program says about certificates, keys and TLS.
package catalogue

import "strings"

// Cause is one thing that can go wrong. The messages of this program and the table in docs/mtls.md
// are made from the same causes. In Code, Says and Remedy, {host}, {file}, {cert} and the like stand
// for what is known when it happens.
type Cause struct {
	ID     string // unique, such as key_mismatch.half_renewed
	Code   string // the stable machine code, shared by causes with one remedy, such as tls.key_mismatch
	Says   string // one sentence without its full stop
	Remedy string
}

// Fill returns c with values, which are pairs of name and text, in the places of their {name}. Of a
// name that is there twice the first text counts.
func (c Cause) Fill(values ...string) Cause {
	pairs := make([]string, len(values))
	for i, v := range values {
		if pairs[i] = v; i%2 == 0 {
			pairs[i] = "{" + v + "}"
		}
	}
	r := strings.NewReplacer(pairs...)
	return Cause{ID: c.ID, Code: r.Replace(c.Code), Says: r.Replace(c.Says), Remedy: r.Replace(c.Remedy)}
}
