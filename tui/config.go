package tui

import (
	"context"
	"iter"
	"time"

	"envrun/tui/clip"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// Config is what the interface is made of. Only Envs and Open are needed.
type Config struct {
	Project string       // its name, for the header
	Who     string       // the member, for the header; empty: nothing is said
	Envs    []screen.Env // those of the project file, in its order; at least one
	First   vault.Env    // where to begin; empty: where we were last, else the first

	// Open returns the vault of an environment. It is called from jobs, may be
	// slow, and is called again each time: whoever opens caches.
	Open func(ctx context.Context, env vault.Env) (vault.Vault, error)

	// Gate says who can open what and changes it; nil: there is nothing to be known
	// of that, and the screens about it are not offered.
	Gate screen.Gate

	// SignIns is how one is signed in to the servers of environments; nil: none is on
	// a server.
	SignIns screen.SignIns

	// Audit writes down that a value is about to be shown or copied, before it is;
	// its error means that it is not. nil where nobody keeps account of reads.
	Audit func(ctx context.Context, use Use) error

	// FreeFacts says that opening a value to say its length costs nothing and is
	// written down nowhere, as in a file vault: the length is then shown unasked.
	FreeFacts bool

	// Explain says what went wrong and what to do about it; next may be empty. nil:
	// the error's own words.
	Explain func(err error) (what, next string)

	// Bell is rung by what works beside the interface; nil: nothing does.
	Bell *Bell

	// Where says what commands get of one secret in an environment, without reading
	// a value; nil: not known.
	Where func(ctx context.Context, env vault.Env, path vault.Path) ([]screen.Injection, error)

	// Watch tells when somebody writes in an environment, as vault.Watcher does; nil:
	// nobody tells. It asks nobody anything.
	Watch func(ctx context.Context, env vault.Env) iter.Seq2[vault.Notice, error]

	// Runner runs command lines with the secrets of an environment; nil: there is
	// none.
	Runner Runner

	Clipboard Clipboard // nil: there is none, and copying says so

	Path vault.Path // the secret that files are taken into unless another is named; may be empty
	Dir  string     // where the paths of files begin; empty: the working directory
	Home string     // what "~" is in one; empty: nothing

	// Editor is the person's own, nil if there is none, and EditorLine how it is
	// called.
	Editor     Editor
	EditorLine string

	Look Look

	// Share begins in share mode: somebody is watching, and no value is shown.
	// HideNames hides the names of secrets and fields besides.
	Share, HideNames bool

	Show  time.Duration // how long a value is shown, 5 to 60 s; 0: 15 s
	Idle  time.Duration // without a key for so long, the screen is locked; 0: 5 min, 2 min where protected
	Hello string        // first notice

	StateFile string // what is remembered between starts; empty: nothing

	// Now and After are the clock, and Exec gives the terminal to something else
	// and sends a message when it has it back; nil for the real ones.
	Now   func() time.Time
	After func(d time.Duration, msg tea.Msg) tea.Cmd
	Exec  func(c tea.ExecCommand, then tea.Msg) tea.Cmd

	// Beside has a command run that waits for a person who is somewhere else; nil: as
	// all are.
	Beside func(c tea.Cmd) tea.Cmd
}

// Look is how the interface is drawn.
type Look struct {
	Theme   string // "auto", "dark", "light", "contrast", "mono"; empty: as remembered, else auto
	ASCII   bool   // draw with ASCII alone
	NoColor bool   // NO_COLOR is set: mono, whatever Theme says
}

// Use is one use of a value that an audit trail keeps.
type Use struct {
	Op     string        // "reveal", "copy", or "edit": read to be worked on
	Target screen.Target // without a Field: all of them
}

// Editor is what the text of a secret is handed to. *editor.Command is one.
type Editor interface {
	// Edit returns what the person made of text. It has the terminal meanwhile.
	Edit(ctx context.Context, text []byte) ([]byte, error)
}

// Runner runs a command line as "envrun -- sh -c LINE" would.
type Runner interface {
	// Run runs it on the terminal that we have left to it, and returns when it has
	// ended. The error says that nothing was started, and why. mask has values in
	// its output masked, whatever the project file says.
	Run(ctx context.Context, env vault.Env, line string, mask bool) (Ran, error)
}

// Ran is how a command has ended.
type Ran struct {
	Status int // its exit status; 128 + Signal if a signal ended it
	Signal int // that signal, or 0
}

// Clipboard is what a value is copied to. *clip.Clipboard is one.
type Clipboard interface {
	// Copy puts a value on the clipboard and sees to it that it goes again, also
	// when this process is gone. It keeps no reference to value.
	Copy(ctx context.Context, value []byte) (clip.Copied, error)
	// CopyText puts text there that is no secret, and leaves it.
	CopyText(ctx context.Context, text string) error
	// Clear empties it now, if what we put there is still there.
	Clear(ctx context.Context) error
}

const (
	usualShow     = 15 * time.Second
	leastShow     = 5 * time.Second
	mostShow      = 60 * time.Second
	usualIdle     = 5 * time.Minute
	protectedIdle = 2 * time.Minute
)

func (c *Config) env(name vault.Env) (screen.Env, bool) {
	for _, e := range c.Envs {
		if e.Name == name {
			return e, true
		}
	}
	return screen.Env{}, false
}

// showFor is how long a value of an environment may be seen.
func (c *Config) showFor(name vault.Env) time.Duration {
	d := c.Show
	if d == 0 {
		d = usualShow
	}
	d = min(max(d, leastShow), mostShow)
	if e, ok := c.env(name); ok && e.Reveal > 0 {
		d = min(d, e.Reveal)
	}
	return d
}

func (c *Config) idleFor(name vault.Env) time.Duration {
	if c.Idle > 0 {
		return c.Idle
	}
	if e, ok := c.env(name); ok && e.Protected {
		return protectedIdle
	}
	return usualIdle
}

func (c *Config) marks() kit.Marks {
	if c.Look.ASCII {
		return kit.ASCIIMarks()
	}
	return kit.UTF8Marks()
}
