package tlsmat

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
)

// sum identifies inputs by their bytes.
type sum [sha256.Size]byte

// gather reads all inputs, twice where they are new: what is being written is not of one moment.
func (s *Source) gather(ctx context.Context) (*inputs, sum, error) {
	in, err := read(s.entry)
	if err != nil {
		return nil, sum{}, err
	}
	if s.keeper != nil {
		if err := s.keeper.provide(ctx, in); err != nil {
			return nil, sum{}, err
		}
	}
	opened := s.opened()
	first := in.sum(opened)
	if first == s.last.loaded {
		return in, first, nil
	}
	if s.between != nil {
		s.between()
	}
	again, err := read(s.entry)
	if err != nil {
		in.forget()
		return nil, sum{}, err
	}
	defer again.forget()
	again.chain, again.signer, again.roots = in.chain, in.signer, in.roots
	if again.sum(opened) != first {
		in.forget()
		return nil, sum{}, s.entry.fault(causeChanging, "cert", nil)
	}
	return in, first, nil
}

// opened tells one home of the key from the one opened after it.
func (s *Source) opened() int {
	if s.keeper == nil {
		return 0
	}
	return s.keeper.opened
}

// sum is the same for the same bytes from the same places.
func (in *inputs) sum(opened int) sum {
	h := sha256.New()
	part := func(kind, name string, data []byte) {
		fmt.Fprintf(h, "%s\x00%s\x00%d\x00", kind, name, len(data))
		h.Write(data)
	}
	for _, f := range in.all() {
		part(f.Field, f.Path, f.Bytes())
	}
	for _, c := range in.chain {
		part("chain", "", c.Raw)
	}
	for _, c := range in.roots {
		part("root", "", c.Raw)
	}
	if in.signer != nil {
		part("home", spkiOf(in.signer.Public()), strconv.AppendInt(nil, int64(opened), 10))
	}
	return sum(h.Sum(nil))
}

// withModes is of whose the files are and who may read them, too, which strict_permissions is about.
func (in *inputs) withModes(of sum) sum {
	h := sha256.New()
	h.Write(of[:])
	for _, f := range in.all() {
		fmt.Fprintf(h, "%o %d ", f.Mode, f.Owner())
	}
	return sum(h.Sum(nil))
}
