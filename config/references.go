package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// maxSecret bounds a secret file, and a secret made of several.
const maxSecret = 64 << 10

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// places is where references and relative paths lead.
type places struct {
	env  Env
	dir  string // what relative paths are relative to
	home string
}

// resolve replaces every {env:NAME} and {file:PATH} in a secret. Other braces are text. Its
// errors show names and paths, never values.
func (p places) resolve(s string) (value string, literal bool, err error) {
	whole := s
	var b strings.Builder
	literal = true
	for {
		at := strings.IndexByte(s, '{')
		if at < 0 {
			break
		}
		b.WriteString(s[:at])
		s = s[at:]
		fromEnv := strings.HasPrefix(s, "{env:")
		if !fromEnv && !strings.HasPrefix(s, "{file:") {
			b.WriteByte('{')
			s = s[1:]
			continue
		}
		ref, rest, closed := strings.Cut(s[1:], "}")
		if !closed {
			return "", false, errors.New("a reference {env:NAME} or {file:PATH} is not closed by }")
		}
		_, arg, _ := strings.Cut(ref, ":")
		lookup := p.secretFile
		if fromEnv {
			lookup = p.variable
		}
		part, err := lookup(arg)
		if err != nil {
			return "", false, err
		}
		b.WriteString(part)
		if b.Len() > maxSecret {
			return "", false, errors.New("this is larger than 64 KiB once its references are replaced")
		}
		s, literal = rest, false
	}
	b.WriteString(s)
	if b.Len() == 0 {
		return "", false, errors.New("this is empty once its references are replaced" + emptyReferences(whole))
	}
	return b.String(), literal, nil
}

func (p places) variable(name string) (string, error) {
	if !variableName.MatchString(name) {
		return "", errors.New("{env:NAME} takes the name of an environment variable: letters, digits and _")
	}
	value, ok := p.env(name)
	if !ok {
		return "", errors.New("the environment variable " + name + notSet)
	}
	return value, nil
}

// secretFile reads a regular file; a pipe or a device could block the start or never end.
func (p places) secretFile(name string) (string, error) {
	shown := sanitize.Quote(name)
	path, err := p.path(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no secret file %s", shown)
	case err != nil:
		return "", fmt.Errorf("reading secret file %s: %w", shown, cause(err))
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("the secret file %s is not a regular file", shown)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading secret file %s: %w", shown, cause(err))
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading secret file %s: %w", shown, cause(err))
	case len(data) > maxSecret:
		return "", fmt.Errorf("the secret file %s is larger than 64 KiB", shown)
	}
	if rest, ok := bytes.CutSuffix(data, []byte("\n")); ok {
		data = bytes.TrimSuffix(rest, []byte("\r"))
	}
	return string(data), nil
}

var reference = regexp.MustCompile(`\{(env|file):[^}]*\}`)

// emptyReferences names what gave nothing; nothing else is in s.
func emptyReferences(s string) string {
	all := reference.FindAllString(s, -1)
	if len(all) == 0 {
		return ""
	}
	return ": " + sanitize.Line(strings.Join(all, ", "), 200) + " is empty"
}

// keyText matches what stands in a key file: PEM, the base64 of PEM, and DER, which begins with a
// sequence, in base64 or hex.
var keyText = regexp.MustCompile(`-----BEGIN|LS0tLS1CRUdJTi|^["' ]*M[A-I][A-Za-z0-9+/=_-]{40,}["' ]*$|^30[0-9A-Fa-f: ]{60,}$`)

// pasted reports whether a text is not the name of a file, but what belongs into one.
func pasted(s string) bool { return keyText.MatchString(s) || strings.ContainsAny(s, "\r\n") }

// path makes a path absolute. What may be a key is not shown.
func (p places) path(s string) (string, error) {
	rest, tilde := strings.CutPrefix(s, "~")
	switch {
	case s == "":
		return "", errors.New("{file:PATH} names no file")
	case pasted(s):
		return "", errors.New("this is the text of a file; save it, and write the name of the file here")
	case reference.MatchString(s):
		return "", errors.New("{env:NAME} and {file:PATH} are replaced in secrets only; write the path itself")
	case tilde && rest != "" && !os.IsPathSeparator(rest[0]):
		return "", fmt.Errorf("%s: only ~ itself is known, not the home of another user", sanitize.Quote(s))
	case tilde && p.home == "":
		return "", fmt.Errorf("%s: the home directory is not known", sanitize.Quote(s))
	case tilde:
		return filepath.Join(p.home, rest), nil
	case filepath.IsAbs(s):
		return filepath.Clean(s), nil
	default:
		return filepath.Join(p.dir, s), nil
	}
}
