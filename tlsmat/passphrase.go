package tlsmat

import (
	"context"
	"errors"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// passphrase is asked for when something encrypted is there, and once.
type passphrase struct {
	ask  func(context.Context) (secret.Text, error) // nil: none is set
	name string                                     // of the setting

	asked bool
	text  secret.Text
	err   error
	used  bool // something was encrypted
}

// passphrase is that of the entry.
func (e Entry) passphrase() *passphrase {
	switch {
	case e.Passphrase != nil:
		return &passphrase{name: e.setting("passphrase"), ask: func(ctx context.Context) (secret.Text, error) {
			text, err := e.Passphrase(ctx)
			if err != nil {
				return secret.Text{}, e.fault(causePassphraseUnavailable, "passphrase", err, "detail", sanitize.Line(err.Error(), 500))
			}
			return text, nil
		}}
	case len(e.PassphraseCommand) > 0:
		return &passphrase{name: e.setting("passphrase_command"), ask: func(ctx context.Context) (secret.Text, error) {
			text, err := runPassphrase(ctx, e.PassphraseCommand, commandTime)
			if failed := (*commandError)(nil); errors.As(err, &failed) {
				return secret.Text{}, e.fault(failed.cause, "passphrase_command", failed.err, failed.values...)
			}
			return text, err
		}}
	}
	return &passphrase{name: e.setting("passphrase")}
}

// fixed is a passphrase that is known already; a zero one is none.
func fixed(text secret.Text, name string) *passphrase {
	if text.IsZero() {
		return &passphrase{name: name}
	}
	return &passphrase{name: name, asked: true, text: text, ask: func(context.Context) (secret.Text, error) { return text, nil }}
}

// forBlock is the passphrase for a block that is encrypted; none is an error.
func (p *passphrase) forBlock(ctx context.Context, f *file, b block) (secret.Text, error) {
	p.used = true
	if p.ask == nil {
		return secret.Text{}, f.fault(causePassphraseRequired, nil, "block", b.String(), "passphrase", p.name)
	}
	if !p.asked {
		p.text, p.err = p.ask(ctx)
		p.asked = true
	}
	switch {
	case p.err != nil:
		return secret.Text{}, p.err
	case p.text.IsZero():
		return secret.Text{}, f.fault(causePassphraseEmpty, nil, "block", b.String(), "passphrase", p.name)
	}
	return p.text, nil
}

// wrong says so, and nothing of the passphrase but what editors and shells add to one unasked.
func (p *passphrase) wrong(f *file, b block) *LoadError {
	space := ""
	if text := p.text.Reveal(); strings.TrimSpace(text) != text {
		space = " (it begins or ends with white space)"
	}
	return f.fault(causePassphraseWrong, errPassphrase, "block", b.String(), "passphrase", p.name, "space", space)
}

// needless warns of a passphrase for which there was no use.
func (p *passphrase) needless() []finding {
	if p.ask == nil || p.used {
		return nil
	}
	return []finding{found("pair", causePassphraseNeedless, "passphrase", p.name)}
}
