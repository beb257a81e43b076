package signer

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
)

// version is of the protocol in docs/signer.md.
const version = 1

// maxLine bounds a line, without its end, in both directions.
const maxLine = 1 << 20

// request is what we write; zero members are left out.
type request struct {
	ID     uint64 `json:"id"`
	Method string `json:"method"`

	Protocol int `json:"protocol,omitzero"` // hello

	Key        []byte `json:"key_sha256,omitzero"` // sign, as all below
	Hash       string `json:"hash,omitzero"`
	Digest     []byte `json:"digest,omitzero"`
	Message    []byte `json:"message,omitzero"`
	Padding    string `json:"padding,omitzero"`
	SaltLength int    `json:"salt_length,omitzero"`
}

func (q request) line() ([]byte, error) {
	b, err := json.Marshal(q)
	return append(b, '\n'), err
}

// response is what the signer writes. Members that are not named here are ignored.
type response struct {
	ID        uint64   `json:"id"`
	Error     *string  `json:"error"`
	Retryable bool     `json:"retryable"`
	Protocol  int      `json:"protocol"`
	Chain     []string `json:"chain"`
	PublicKey string   `json:"public_key"`
	Signature string   `json:"signature"`
}

// parse decodes a line, or says why it is none without telling anything of its content.
func parse(line []byte) (r *response, wrong string) {
	if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{")) {
		return nil, "is not a JSON object"
	}
	r = &response{}
	err := json.Unmarshal(line, r)
	if err == nil {
		return r, ""
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		member, _, _ := strings.Cut(strings.TrimPrefix(string(e.JSONPointer), "/"), "/")
		switch member { // one of ours: other names are content
		case "id", "error", "retryable", "protocol", "chain", "public_key", "signature":
			return nil, "has a member " + member + " of the wrong type"
		}
	}
	return nil, "is not valid JSON"
}

// wholeLines splits like [bufio.ScanLines], but leaves out what the end of the output cut off.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}
