package keyfile

import (
	"context"
	"errors"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Passphrase is asked for when something encrypted is there, and once.
type Passphrase struct {
	ask  func(context.Context) (secret.Text, error) // nil: none is set
	name string                                     // of the setting

	asked bool
	text  secret.Text
	err   error
	used  bool // something was encrypted
}

// NewPassphrase is one that is asked for or that a program prints, which has 10 seconds and is run
// without a shell and without input. Where ask and command are nil, it is none.
func NewPassphrase(n Names, ask func(context.Context) (secret.Text, error), command []string) *Passphrase {
	switch {
	case ask != nil:
		return &Passphrase{name: n.Setting("passphrase"), ask: func(ctx context.Context) (secret.Text, error) {
			text, err := ask(ctx)
			if err != nil {
				return secret.Text{}, n.Fault(causePassphraseUnavailable, "passphrase", err, "detail", sanitize.Line(err.Error(), 500))
			}
			return text, nil
		}}
	case len(command) > 0:
		return &Passphrase{name: n.Setting("passphrase_command"), ask: func(ctx context.Context) (secret.Text, error) {
			text, err := runPassphrase(ctx, command, commandTime)
			if failed := (*commandError)(nil); errors.As(err, &failed) {
				return secret.Text{}, n.Fault(failed.cause, "passphrase_command", failed.err, failed.values...)
			}
			return text, err
		}}
	}
	return &Passphrase{name: n.Setting("passphrase")}
}

// fixed is a passphrase that is known already; a zero one is none.
func fixed(text secret.Text, name string) *Passphrase {
	if text.IsZero() {
		return &Passphrase{name: name}
	}
	return &Passphrase{name: name, asked: true, text: text, ask: func(context.Context) (secret.Text, error) { return text, nil }}
}

// Text asks for it. It is zero where there is none.
func (p *Passphrase) Text(ctx context.Context) (secret.Text, error) {
	if p.ask != nil && !p.asked {
		p.text, p.err = p.ask(ctx)
		p.asked = true
	}
	return p.text, p.err
}

// forBlock is the passphrase for a block that is encrypted; none is an error.
func (p *Passphrase) forBlock(ctx context.Context, f *File, b Block) (secret.Text, error) {
	p.used = true
	if p.ask == nil {
		return secret.Text{}, f.Fault(causePassphraseRequired, nil, "block", b.String(), "passphrase", p.name)
	}
	text, err := p.Text(ctx)
	switch {
	case err != nil:
		return secret.Text{}, err
	case text.IsZero():
		return secret.Text{}, f.Fault(causePassphraseEmpty, nil, "block", b.String(), "passphrase", p.name)
	}
	return text, nil
}

// wrong says so, and nothing of the passphrase but what editors and shells add to one unasked.
func (p *Passphrase) wrong(f *File, b Block) *Error {
	space := ""
	if text := p.text.Reveal(); strings.TrimSpace(text) != text {
		space = " (it begins or ends with white space)"
	}
	return f.Fault(causePassphraseWrong, errPassphrase, "block", b.String(), "passphrase", p.name, "space", space)
}

// Needless warns of a passphrase for which there was no use.
func (p *Passphrase) Needless() (warning catalogue.Cause, ok bool) {
	if p.ask == nil || p.used {
		return catalogue.Cause{}, false
	}
	return causePassphraseNeedless.Fill("passphrase", p.name), true
}
