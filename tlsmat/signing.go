package tlsmat

import (
	"context"
	"crypto"
	"io"
)

// watchedSigner signs for one handshake and tells in its [Seen] how that goes.
type watchedSigner struct {
	crypto.Signer
	handshake context.Context // nil: in a request that no handshake made
	seen      *Seen
}

type signature struct {
	bytes []byte
	err   error
}

// Sign implements [crypto.Signer]. A key that lives elsewhere does not know when nobody wants its
// signature any more, so it is left to itself when the handshake's time is over. To the Seen it
// still signs then.
func (s *watchedSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	var over <-chan struct{}
	if s.handshake != nil {
		over = s.handshake.Done()
	}
	s.seen.beginSigning()
	made := make(chan signature, 1)
	go func() {
		bytes, err := s.Signer.Sign(rand, digest, opts)
		made <- signature{bytes, err}
	}()
	select {
	case m := <-made:
		s.seen.endSigning(m.err)
		return m.bytes, m.err
	case <-over:
		return nil, s.handshake.Err()
	}
}
