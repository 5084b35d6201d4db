package tui

import (
	"context"
	"errors"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// What somebody who watches may see. Values are kept by the slot (keepHidden),
// names by the veil that every text passes on its way into a frame (kit.Veil).
// The veil learns names where they come in: from the vaults in power, from the
// gate here, from errors in Model.explain, from drafts in Model.draw.

// shareMode is how much is hidden from who is watching.
type shareMode uint8

const (
	shareOff   shareMode = iota
	shareOn              // no value is shown
	shareNames           // nor is the name of a secret or a field
)

// shareModeOf is the mode that was asked for.
func shareModeOf(share, names bool) shareMode {
	switch {
	case names:
		return shareNames
	case share:
		return shareOn
	}
	return shareOff
}

// setShare is the one way that the mode changes.
func (m *Model) setShare(to shareMode) {
	m.share = to
	m.power.veil.Set(to == shareNames)
}

// nextShare is P: no values, then no names either, then off.
func (m *Model) nextShare() {
	m.setShare((m.share + 1) % (shareNames + 1))
	m.shareKept = m.share
	m.say(kit.Notice{Text: [...]string{
		shareOff:   "Share mode is off: values are shown when you ask for them.",
		shareOn:    "Share mode: no value is shown. P again hides the names too.",
		shareNames: "Names are hidden, but for what you type. P ends it.",
	}[m.share]})
	m.remember()
}

// learn takes in the names that somebody has typed, and drafts have.
func (m *Model) learn() {
	m.pending.Each(func(d *draft.Draft) {
		m.power.veil.Learn(string(d.Path()))
		for _, r := range d.Rows() {
			m.power.veil.Learn(string(r.Ref.Name))
		}
	})
}

// seen takes in the names of a secret.
func (p *power) seen(info vault.Info) {
	p.veil.Learn(string(info.Path))
	for _, f := range info.Fields {
		p.veil.Learn(string(f.Name))
	}
}

// seenIn takes in the names that an error is about.
func (p *power) seenIn(err error) {
	var e *vault.Error
	if errors.As(err, &e) {
		p.veil.Learn(string(e.Path), string(e.Field))
	}
}

// Exposed implements screen.Access.
func (l looking) Exposed(ctx context.Context, env vault.Env) ([]screen.Exposed, error) {
	all, err := l.Access.Exposed(ctx, env)
	for _, e := range all {
		l.veil.Learn(string(e.Path), string(e.Field))
	}
	return all, err
}

// Care implements screen.Access.
func (l looking) Care(ctx context.Context, env vault.Env) (screen.Care, error) {
	c, err := l.Access.Care(ctx, env)
	for _, p := range c.OldKey {
		l.veil.Learn(string(p))
	}
	for _, err := range c.Strays {
		if e := (*vault.Error)(nil); errors.As(err, &e) {
			l.veil.Learn(string(e.Path), string(e.Field))
		}
	}
	return c, err
}
