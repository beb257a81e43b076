package tlsmat

import "strings"

// Cause is one thing that can go wrong with certificates or TLS. The messages of this program and
// the table in docs/mtls.md are made from the same causes. In Says and Remedy, {host}, {file},
// {cert} and the like stand for what is known when it happens.
type Cause struct {
	ID     string // unique, such as key_mismatch.half_renewed
	Code   string // the stable machine code, shared by causes with one remedy, such as tls.key_mismatch
	Says   string // one sentence without its full stop
	Remedy string
}

// Fill replaces {name} in Says and Remedy by values, which are pairs of name and text.
func (c Cause) Fill(values ...string) (says, remedy string) {
	pairs := make([]string, len(values))
	for i, v := range values {
		if pairs[i] = v; i%2 == 0 {
			pairs[i] = "{" + v + "}"
		}
	}
	r := strings.NewReplacer(pairs...)
	return r.Replace(c.Says), r.Replace(c.Remedy)
}
