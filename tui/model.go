package tui

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// Model is the one tea.Model of the interface. It routes keys and messages, runs
// jobs in lanes, keeps the dialogs and the slot, and does what screens ask for.
type Model struct {
	config  Config
	project screen.Project
	power   *power
	pending *draft.Set // what was changed and not sent
	actions *kit.Actions
	ctx     context.Context // of all jobs
	cancel  context.CancelFunc
	send    func(tea.Msg) // to ourselves, from outside an Update; nil before the program runs

	// What is on the screen.
	env       vault.Env
	home      map[vault.Env]screen.Screen // the first screen of each environment that was looked at
	screens   []screen.Screen             // the last on top; never empty
	dialogs   kit.Stack
	notice    kit.Notice
	slot      slot
	share     shareMode
	shareKept shareMode // as somebody chose it here, or earlier: what is remembered
	locked    bool
	lockedFor time.Duration // nobody had pressed a key for so long; 0: somebody asked for it
	asking    bool          // whether to leave
	offline   bool          // the last job found nobody to answer
	mouse     bool
	blank     bool // nothing is drawn: we are leaving, or away

	// How it is drawn.
	w, h      int                // 0 until the terminal has said
	sized     *tea.WindowSizeMsg // its newest size, while a value is still being hidden for it
	marks     kit.Marks
	themeName string
	darkBack  bool
	theme     *kit.Theme
	frame     *kit.Frame
	dirty     bool
	picture   tea.View

	// What is under way.
	lanes map[lane]*job
	by    *job // whose report is taken in; nil: what happens comes from a person
	jobs  uint64
	cmds  []tea.Cmd // collected during one Update

	// Times, all by the wall clock: a machine that slept has been away.
	seen      time.Time        // the last key
	last      time.Time        // the last message
	left      time.Time        // when we were suspended, or an editor began; zero: we were not
	ticking   bool             // the spinner's tick is under way
	wanted    screen.Target    // the value that is on its way
	peeking   bool             // a value is shown, or is on its way, for as long as a key is held
	blurred   bool             // the terminal has said that somebody looks elsewhere
	touches   uint64           // keys, and all else that a person did
	asked     []screen.Request // that were there when they were looked at
	polled    time.Time        // and when that was
	unwatch   func()           // ends the watch of the environment; nil: there was none
	stale     bool             // somebody wrote since its names were read
	refreshed time.Time        // when they were read because of that
	clipUntil time.Time
	unwanted  bool // the copy that is under way: it was locked meanwhile
	releases  bool // the terminal reports that keys are let go

	// Where nothing is drawn (Lines): which actions make no sense there, and why.
	lines   bool
	without map[string]string

	// lent says that a command has the terminal: Ctrl-C and Ctrl-Z are meant for it.
	lent atomic.Bool

	questions []*question // of the bell, that nobody has answered yet; the first may be open
	heard     []string    // notices of the bell, each once
	waitsFor  string      // what is waited for, in words of the bell

	// Of signing in to servers (signin.go).
	signing  *signing          // that is under way
	ending   *signing          // that was called off last: something of it may be left
	lapses   map[string]*lapse // by server: what could not be done since nobody is signed in there
	again    *lapse            // to be read again when somebody looks
	refused  *unwritten        // to be asked again
	signedAt time.Time         // when it was looked who is signed in
	did      did               // the last action of a screen
	appears  bool              // the box that is opened now nobody has asked for

	editings map[*draft.Draft]*editing // texts that are with an editor, or that one left and could not be used
	warned   bool                      // of what an editor may do

	ended os.Signal // what ended us; nil: somebody quit
	crash *Crash
}

// New makes the interface. ctx ends all its jobs.
func New(ctx context.Context, c Config) (*Model, error) {
	if c.Now == nil {
		c.Now = func() time.Time { return time.Now().Round(0) }
	}
	if c.After == nil {
		c.After = func(d time.Duration, msg tea.Msg) tea.Cmd {
			return tea.Tick(d, func(time.Time) tea.Msg { return msg })
		}
	}
	if c.Exec == nil {
		c.Exec = func(e tea.ExecCommand, then tea.Msg) tea.Cmd {
			return tea.Exec(e, func(error) tea.Msg { return then })
		}
	}
	actions, err := kit.NewActions(screen.Actions())
	if err != nil {
		return nil, err
	}
	m := &Model{
		config: c, actions: actions,
		home: map[vault.Env]screen.Screen{}, lanes: map[lane]*job{}, lapses: map[string]*lapse{}, editings: map[*draft.Draft]*editing{},
		darkBack: true, dirty: true,
		marks: c.marks(), frame: kit.NewFrame(0, 0, c.marks()),
	}
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.power, m.pending = newPower(&m.config)
	m.slot.power, m.slot.now = m.power, m.now
	m.power.where = c.Where
	m.marks.Veil = m.power.veil
	m.project = screen.Project{
		Name: c.Project, Envs: c.Envs, Explain: m.explain, FreeFacts: c.FreeFacts, Injects: c.Where != nil, Drafts: m.pending, Path: c.Path,
		Standings: map[vault.Env]screen.Standing{},
	}
	if c.Editor != nil {
		m.project.Editor = c.EditorLine
	}
	if c.Gate != nil {
		m.project.Gate = typed{c.Gate}
	}
	if c.SignIns != nil {
		m.project.Server, m.project.Wants, m.project.Signed = c.SignIns.Server, c.SignIns.Wants, map[string]screen.Signed{}
	}
	m.seen, m.last = m.now(), m.now()
	remembered := loadState(c.StateFile)
	m.shareKept = shareModeOf(remembered.Share, remembered.HideNames)
	m.setShare(max(shareModeOf(c.Share, c.HideNames), m.shareKept))
	if m.themeName = c.Look.Theme; m.themeName == "" {
		m.themeName = remembered.Theme
	}
	m.dress()
	first := c.First
	if _, ok := c.env(first); !ok {
		first = vault.Env(remembered.Env)
	}
	if _, ok := c.env(first); !ok {
		first = c.Envs[0].Name
	}
	m.project.Tree = remembered.Tree
	m.env = first
	m.screens = []screen.Screen{m.homeOf(first)}
	if c.Hello != "" {
		m.say(kit.Notice{Role: kit.Warn, Text: c.Hello, Sticky: true})
	}
	return m, nil
}

func (m *Model) now() time.Time { return m.config.Now() }

// dress chooses the theme.
func (m *Model) dress() {
	name := m.themeName
	if m.config.Look.NoColor {
		name = "mono"
	}
	t, ok := kit.NewTheme(name, m.darkBack)
	if !ok {
		m.themeName = ""
		t, _ = kit.NewTheme("", m.darkBack)
	}
	m.theme = t
}

func (m *Model) homeOf(env vault.Env) screen.Screen {
	s := m.home[env]
	if s == nil {
		e, _ := m.config.env(env)
		s = screen.NewBrowse(&m.project, e)
		m.home[env] = s
	}
	return s
}

func (m *Model) top() screen.Screen { return m.screens[len(m.screens)-1] }

func (m *Model) size() kit.Size { return kit.SizeOf(m.w, m.h) }

// explain is Config.Explain, or the error's own words.
func (m *Model) explain(err error) (what, next string) {
	m.power.seenIn(err)
	if want, ok := m.wants(err); ok {
		return want.Text(&m.project), m.keyOf(screen.DoSignIn) + " signs in, and what you typed is kept"
	}
	if m.config.Explain != nil {
		return m.config.Explain(err)
	}
	return err.Error(), ""
}

// Messages of our own. None has a value in it.
type (
	beatMsg    struct{}                   // once a second
	spinMsg    struct{}                   // while something is waited for
	waitMsg    struct{}                   // a new size waits until what is shown has gone
	sizedMsg   struct{}                   // the value has gone: the last size counts
	endMsg     struct{ signal os.Signal } // from outside: leave
	suspendMsg struct{}                   // from outside: stop
	backMsg    struct{ then func() }      // after a pause
	ranMsg     struct{ command *running } // a command is done
	editedMsg  struct{ editing *editing } // an editor is done
	heardMsg   struct{ watch *watch }     // somebody wrote, or is heard no more
)

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd {
	m.apply(m.top(), m.top().Enter())
	m.arrive()
	m.watch()
	m.run(tea.RequestBackgroundColor)
	m.run(m.config.After(time.Second, beatMsg{}))
	return m.flush()
}

// run has a command done after this Update. A panic in it ends the program as
// one of our own does.
func (m *Model) run(c tea.Cmd) {
	if c != nil {
		m.cmds = append(m.cmds, c)
	}
}

func (m *Model) flush() tea.Cmd {
	cmds := slices.Clone(m.cmds)
	m.cmds = m.cmds[:0]
	return tea.Batch(cmds...)
}

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (same tea.Model, cmd tea.Cmd) {
	defer func() {
		if c := recovered(recover()); c != nil {
			m.die(c)
			// Without a model the program would panic in its turn, with the screen as it is.
			same, cmd = m, m.flush()
		}
	}()
	m.update(msg)
	m.keep()
	return m, m.flush()
}

// keep is what holds after all that happens.
func (m *Model) keep() {
	m.forgetEdited()
	m.keepHidden()
	m.keepAsking()
	m.keepOffered()
}

// Filter is what the program asks before anything else: whatever is about to end
// it finds an empty screen, and ends it the polite way, which draws once more.
func (m *Model) Filter(_ tea.Model, msg tea.Msg) tea.Msg {
	switch msg := msg.(type) {
	case tea.QuitMsg, tea.InterruptMsg:
		m.vanish()
		return tea.QuitMsg{}
	case tea.WindowSizeMsg:
		// The renderer clears the screen for a new size, and a terminal without an
		// alternate screen may keep what it clears. The value goes first, and sizes
		// that come meanwhile replace the one that waits.
		if m.sized != nil {
			*m.sized = msg
			return nil
		}
		if m.slot.on {
			m.hide()
			m.sized = &msg
			return waitMsg{}
		}
	case sizedMsg:
		size := *m.sized
		m.sized = nil
		return size
	}
	return msg
}

// did is an action that a screen was told to do.
type did struct {
	of     screen.Screen
	action string
}

// vanish hides everything that is drawn, at once.
func (m *Model) vanish() {
	m.hide()
	m.blank = true
}

func (m *Model) update(msg tea.Msg) {
	now := m.now()
	if m.crash != nil {
		return
	}
	// Whoever was away for a while, or put the clock back, finds the screen locked.
	gap := now.Sub(m.last)
	m.last = now
	idle := now.Sub(m.seen)
	switch {
	case m.locked || m.lines || !m.left.IsZero():
	case idle >= m.config.idleFor(m.env), gap > time.Minute, gap < -5*time.Second:
		m.lock(idle)
		switch msg.(type) {
		case tea.KeyPressMsg, tea.PasteMsg, tea.MouseMsg:
			m.seen = now
			return // it was meant for what is not there any more
		}
	}
	switch msg.(type) {
	case beatMsg, spinMsg: // these know themselves
	default:
		m.dirty = true
	}

	switch msg := msg.(type) {
	case waitMsg:
		m.run(m.config.After(3*time.Second/fps, sizedMsg{})) // three pictures
	case tea.WindowSizeMsg:
		m.hide() // also what is on its way
		m.w, m.h = msg.Width, msg.Height
	case tea.KeyPressMsg:
		m.touch(now)
		m.key(keyOf(tea.Key(msg)))
	case tea.KeyReleaseMsg:
		if m.peeking && (msg.Code == 'v' || msg.Code == 'V' || msg.BaseCode == 'v') {
			m.hide()
		}
	case tea.PasteMsg:
		m.touch(now)
		m.paste(msg.Content)
	case tea.MouseClickMsg:
		m.touch(now)
		m.mouseMsg(msg)
	case tea.MouseWheelMsg:
		m.touch(now)
		m.mouseMsg(msg)
	case tea.BlurMsg:
		m.hide()
		m.blurred = true
	case tea.FocusMsg:
		m.blurred = false
		m.poll()
		m.refresh()
	case tea.BackgroundColorMsg:
		m.darkBack = msg.IsDark()
		m.dress()
	case tea.KeyboardEnhancementsMsg:
		m.releases = msg.SupportsEventTypes()
	case endMsg:
		m.ended = msg.signal
		m.leave()
	case suspendMsg:
		m.suspend()
	case backMsg:
		m.back()
		if msg.then != nil {
			msg.then()
		}
	case ranMsg:
		m.ran(msg.command)
	case editedMsg:
		m.edited(msg.editing)
	case rungMsg:
		m.rung()
	case lapseMsg:
		m.answered(msg.q, answer{err: fmt.Errorf("%w for %v", ErrNoAnswer, Patience)})
	case beatMsg:
		m.beat(now)
	case spinMsg:
		m.ticking = false
		m.tickBusy()
	case heardMsg:
		m.heardOf(msg.watch)
	case jobMsg:
		m.take(msg)
	case crashMsg:
		m.die(msg.crash)
	}
}

// touch notes that somebody did something.
func (m *Model) touch(now time.Time) {
	m.seen = now
	if len(m.questions) > 0 && m.questions[0].dialog != nil && m.dialogs.Top() == m.questions[0].dialog {
		return // it is what they wait for that asks
	}
	m.touches++
}

// beat is the clock of whatever counts down.
func (m *Model) beat(now time.Time) {
	m.run(m.config.After(time.Second, beatMsg{}))
	if m.slot.on || !m.clipUntil.IsZero() || m.signing != nil {
		m.dirty = true
	}
	m.beatSigned(now)
	if !m.clipUntil.IsZero() && !now.Before(m.clipUntil) {
		m.clipUntil = time.Time{}
	}
	if now.Sub(m.polled) >= pollEvery {
		m.poll()
	}
	m.refresh()
}

// tickBusy has the spinner drawn again, while there is one to draw.
func (m *Model) tickBusy() {
	b := m.busy()
	if m.ticking || b.Since.IsZero() {
		return
	}
	m.dirty = true
	d := kit.BusyStep
	if !b.Shown(m.now()) {
		d = kit.BusyAfter
	}
	m.ticking = true
	m.run(m.config.After(d, spinMsg{}))
}

// keyOf is a key as the kit knows it.
func keyOf(k tea.Key) kit.Key {
	own := k
	own.BaseCode = 0 // by which a chord is named where it is known
	key := kit.Key{Name: own.String(), Text: k.Text, Repeat: k.IsRepeat}
	if k.Text == " " {
		key.Name = "space"
	}
	// On a layout with Latin letters a letter is what it says, wherever it lies.
	if k.BaseCode != 0 && k.Code >= utf8.RuneSelf && k.Code <= unicode.MaxRune {
		base := tea.Key{Code: k.BaseCode, Mod: k.Mod &^ tea.ModShift}
		if k.Mod&tea.ModShift != 0 && k.BaseCode >= 'a' && k.BaseCode <= 'z' {
			base.Code = k.BaseCode - 'a' + 'A'
		}
		key.Base = base.String()
	}
	return key
}

// key is the way of a key: what always works, the lock, the dialog on top, what
// types, the screen, the root.
func (m *Model) key(k kit.Key) {
	name := k.Name
	if k.Base != "" && k.Text == "" { // a letter with Ctrl, on a layout without it
		name = k.Base
	}
	switch name {
	case "ctrl+c":
		switch {
		case k.Repeat: // held down, it would answer its own question
		case m.signing != nil && m.signing.box != nil && m.dialogs.Top() == kit.Dialog(m.signing.box):
			m.dialogs.Key(kit.Key{Name: "esc"}, m.now())
		default:
			m.interrupt()
		}
		return
	case "ctrl+l":
		m.lock(0)
		return
	case "ctrl+z":
		m.suspend()
		return
	}
	if !m.notice.Sticky {
		m.notice = kit.Notice{}
	}
	if m.dialogs.Len() == 0 && k.Name != "q" {
		m.asking = false
	}
	if m.locked {
		if a, _, ok := m.actions.Match(lockOffers(), k); ok && !k.Repeat {
			m.do(a.ID)
		}
		return
	}
	if m.size() == kit.TooSmall {
		if k.Name == "q" && !k.Repeat {
			m.interrupt()
		}
		return
	}
	if m.dialogs.Key(k, m.now()) {
		return
	}
	top := m.top()
	if t, ok := top.(screen.Typist); ok {
		if in := t.Input(); in != nil {
			if in.Key(k) {
				m.slot.goOn(m.config.showFor(m.slot.target.Env))
				m.apply(top, t.Typed())
				return
			}
			if k.Text != "" {
				return // typed text is never an action
			}
		}
	}
	if a, o, ok := m.actions.Match(m.offers(), k); ok {
		if k.Repeat && a.Group != screen.GroupMove {
			return // a key that is held down moves, and does nothing else
		}
		if o.Off != "" {
			m.say(kit.Notice{Text: a.Name + ": " + o.Off})
			return
		}
		m.do(a.ID)
		return
	}
	if len(k.Name) == 1 && k.Name >= "1" && k.Name <= "9" {
		if i, _ := strconv.Atoi(k.Name); i <= len(m.config.Envs) {
			m.apply(top, screen.Switch{Env: m.config.Envs[i-1].Name})
		}
	}
}

// paste: what is pasted is never keys. Where nothing is typed it is ignored.
func (m *Model) paste(text string) {
	if m.locked || m.size() == kit.TooSmall || m.dialogs.Paste(text, m.now()) {
		return
	}
	top := m.top()
	if t, ok := top.(screen.Typist); ok {
		if in := t.Input(); in != nil {
			if in.Paste(text) {
				m.slot.goOn(m.config.showFor(m.slot.target.Env))
				m.apply(top, t.Typed())
			}
			return
		}
	}
	m.say(kit.Notice{Text: "Pasted text is ignored here."})
}

// lockOffers are what a locked screen offers.
func lockOffers() []kit.Offer { return []kit.Offer{{ID: screen.Unlock}, {ID: screen.Quit}} }

// offers are those of the screen on top, and ours.
func (m *Model) offers() []kit.Offer {
	offers := append(make([]kit.Offer, 0, 64), m.top().Offers()...)
	if server := m.server(m.env); server != "" && !slices.ContainsFunc(offers, func(o kit.Offer) bool { return o.ID == screen.DoSignIn }) {
		// Where nothing goes without it, it is what is offered first.
		in := kit.Offer{ID: screen.DoSignIn, Off: m.project.Signed[server].Fixed}
		if m.lapses[server] != nil {
			offers = append([]kit.Offer{in}, offers...)
		} else {
			offers = append(offers, in)
		}
	}
	for i, o := range offers {
		if m.slot.on && o.ID == screen.ShowHide {
			offers[i].Name = "hide"
		}
		if o.Off == "" && (o.ID == screen.ShowHide || o.ID == screen.Peek || o.ID == screen.CopyIt) && m.shut(m.env) {
			offers[i].Off = m.shutOut()
		}
		if m.share != shareOff && o.Off == "" && (o.ID == screen.ShowHide || o.ID == screen.Peek) {
			offers[i].Off = "share mode is on, until P has ended it"
		}
		if m.config.Clipboard == nil && o.Off == "" && (o.ID == screen.CopyIt || o.ID == screen.CopyPath || o.ID == screen.CopySteps || o.ID == screen.CopyPublic) {
			offers[i].Off = "there is no clipboard here"
		}
	}
	// Esc stops what is being read, shows everything again, or ends typing, before it goes back.
	first := slices.ContainsFunc(offers, func(o kit.Offer) bool {
		return o.ID == screen.StopIt || o.ID == screen.ClearFilter || o.ID == screen.DoneTyping
	})
	if len(m.screens) > 1 && !first {
		offers = append(offers, kit.Offer{ID: screen.Back})
	}
	if len(m.config.Envs) > 1 {
		offers = append(offers, kit.Offer{ID: screen.PickEnv})
	}
	offers = append(offers, m.places(offers)...)
	if m.notice.Details != "" || len(m.heard) > 0 {
		offers = append(offers, kit.Offer{ID: screen.Details})
	}
	if m.config.Runner != nil {
		offers = append(offers, kit.Offer{ID: screen.RunLine})
	}
	for _, id := range [...]string{screen.Palette, screen.Help, screen.Share, screen.Mouse, screen.NextTheme, screen.Lock, screen.Suspend, screen.Quit, screen.Interrupt} {
		if !slices.ContainsFunc(offers, func(o kit.Offer) bool { return o.ID == id }) {
			offers = append(offers, kit.Offer{ID: id})
		}
	}
	for i, o := range offers {
		if why, ok := m.without[o.ID]; ok {
			offers[i].Off = why
		}
	}
	return offers
}

// do does an action: ours, or the screen's.
func (m *Model) do(id string) {
	switch id {
	case screen.Back:
		m.goBack()
	case screen.Quit:
		if len(m.screens) > 1 && !m.locked {
			m.goBack()
			return
		}
		m.interrupt()
	case screen.Interrupt:
		m.interrupt()
	case screen.RunLine:
		m.askLine()
	case screen.Palette:
		m.palette()
	case screen.Help:
		m.help()
	case screen.Details:
		m.details()
	case screen.PickEnv:
		m.pickEnv()
	case screen.Share:
		m.nextShare()
	case screen.Mouse:
		m.mouse = !m.mouse
		if m.mouse {
			m.say(kit.Notice{Text: "The mouse is used here; shift+drag selects text. m gives it back."})
		}
	case screen.NextTheme:
		m.nextTheme()
	case screen.Lock:
		m.lock(0)
	case screen.Unlock:
		m.locked, m.asking = false, false
		m.seen = m.now()
		if m.again != nil {
			m.goOnSigned()
		} else {
			m.apply(m.top(), m.top().Enter())
		}
		m.showSigning()
		m.poll()
	case screen.Suspend:
		m.suspend()
	default:
		if m.place(id) {
			return
		}
		top := m.top()
		if id == screen.DoSignIn && !slices.ContainsFunc(top.Offers(), func(o kit.Offer) bool { return o.ID == id }) {
			m.signIn(m.env, screen.AsFits)
			return
		}
		m.did = did{top, id}
		m.apply(top, top.Do(id))
	}
}

// apply does what a screen asks for. A screen that is not on top any more, or
// not there at all, may still say how its write ended.
func (m *Model) apply(from screen.Screen, e screen.Effect) {
	switch e := e.(type) {
	case nil:
	case screen.All:
		for _, one := range e {
			m.apply(from, one)
		}
	case screen.Push:
		m.push(e.Screen)
	case screen.Present:
		if from == m.top() && m.dialogs.Len() == 0 && !m.locked {
			m.push(e.Screen)
		} else if e.Else.Text != "" {
			m.say(e.Else)
		}
	case screen.Pop:
		if from == m.top() {
			m.pop()
		}
	case screen.Replace:
		if from == m.top() {
			m.gone(from)
			m.hide()
			m.screens[len(m.screens)-1] = e.Screen
			m.apply(e.Screen, e.Screen.Enter())
		}
	case screen.Switch:
		m.goTo(e.Env)
	case screen.Say:
		m.say(e.Notice)
	case screen.Ask:
		m.ask(from, e)
	case screen.Reveal:
		if from == m.top() {
			m.reveal(false)
		}
	case screen.PeekAt:
		if from == m.top() {
			m.reveal(m.releases)
		}
	case screen.Hide:
		m.hide()
	case screen.Copy:
		if from == m.top() {
			m.copyValue()
		}
	case screen.CopyName:
		m.copyName(e.Text, e.Text)
	case screen.CopyAs:
		m.copyName(e.Text, e.As)
	case screen.Read:
		m.read(from, e)
	case screen.Write:
		m.write(from, e)
	case screen.Grant:
		m.grant(from, e)
	case screen.SignIn:
		m.signIn(e.Env, e.How)
	case screen.SignOut:
		m.endSession(from, e)
	case screen.UseAccount:
		m.useAccount(from, e)
	case screen.Stop:
		m.stop(lane{from, e.Lane})
	case screen.Send:
		m.sendDrafts(from, e)
	case screen.EditText:
		if from == m.top() {
			m.editText(from, e)
		}
	case screen.Remember:
		m.project.Tree = e.Tree
		m.remember()
	default:
		panic("an effect that the root does not know")
	}
}

// ask opens a dialog. One that had to be waited for opens only for somebody who
// has waited for it, and not so that what they type next is its answer.
func (m *Model) ask(from screen.Screen, e screen.Ask) {
	then := func() {
		if e.Then != nil {
			m.apply(from, e.Then())
		}
	}
	switch j := m.by; {
	case m.appears:
		m.dialogs.Appear(e.Dialog, then, m.now())
	case j == nil:
		m.dialogs.Push(e.Dialog, then)
	case from != m.top() || m.locked || m.dialogs.Len() > 0 || m.touches != j.touches:
		m.say(kit.Notice{Text: "Nothing was begun: you went on meanwhile. The same key begins again."})
	case m.now().Sub(j.since) >= kit.BusyAfter:
		m.dialogs.Appear(e.Dialog, then, m.now())
	default:
		m.dialogs.Push(e.Dialog, then)
	}
}

func (m *Model) push(s screen.Screen) {
	m.hide()
	m.screens = append(m.screens, s)
	m.apply(s, s.Enter())
}

func (m *Model) pop() {
	if len(m.screens) == 1 {
		return
	}
	m.hide()
	m.gone(m.top())
	m.screens = m.screens[:len(m.screens)-1]
	m.apply(m.top(), m.top().Enter())
}

// gone ends what a screen has under way, when it is not coming back.
func (m *Model) gone(s screen.Screen) {
	m.stopOf(s)
	if l, ok := s.(screen.Leaver); ok {
		l.Leave()
	}
}

func (m *Model) goTo(env vault.Env) {
	if _, ok := m.config.env(env); !ok {
		return
	}
	if m.drafts() > 0 {
		m.orElse(m.drafts(), "go to "+string(env), func() { m.show(env) })
		return
	}
	m.show(env)
}

func (m *Model) show(env vault.Env) {
	m.hide()
	for _, s := range m.screens {
		m.gone(s)
	}
	m.env = env
	m.screens = []screen.Screen{m.homeOf(env)}
	m.remember()
	m.apply(m.top(), m.top().Enter())
	m.arrive()
	m.watch()
}

func (m *Model) say(n kit.Notice) {
	if n.Details == "" {
		n.Details = n.Text
	}
	m.notice = n
}

// lock hides everything. idle is for how long nobody had pressed a key; 0 if
// somebody asked for it.
func (m *Model) lock(idle time.Duration) {
	if m.locked || m.lines { // what was printed cannot be hidden any more
		return
	}
	m.hide()
	m.unask("the screen was locked")
	m.dialogs.Drop()
	if m.signing != nil { // it goes on, and its box comes back
		m.signing.field.Wipe()
	}
	m.asking = false
	for _, s := range m.screens {
		m.stopOf(s)
	}
	m.locked, m.notice, m.dirty = true, kit.Notice{}, true // a beat alone draws nothing
	m.lockedFor = idle
	if m.unwanted = m.lanes[laneCopy] != nil; !m.unwanted {
		m.clearClipboard()
	}
}

// copiedTooLate reports whether a copy that is done now was begun before the screen was
// locked, and empties the clipboard of it, and of what was there before.
func (m *Model) copiedTooLate() bool {
	if !m.unwanted {
		return false
	}
	m.unwanted = false
	m.clearClipboard()
	return true
}

// clearClipboard empties the clipboard now.
func (m *Model) clearClipboard() {
	if m.config.Clipboard == nil || m.clipUntil.IsZero() {
		return
	}
	m.clipUntil = time.Time{}
	m.start(&job{lane: laneCopy, limit: 5 * time.Second,
		do: func(ctx context.Context, _ func(func()) bool) error { return m.config.Clipboard.Clear(ctx) },
		done: func(err error) {
			if err != nil {
				m.fail(err)
				return
			}
			m.say(kit.Notice{Text: "Clipboard cleared."})
		},
	})
}

func (m *Model) copyName(text, as string) {
	if m.config.Clipboard == nil {
		return
	}
	m.unwanted = false
	m.start(&job{lane: laneCopy, what: "copying", limit: 10 * time.Second,
		do: func(ctx context.Context, _ func(func()) bool) error {
			return m.config.Clipboard.CopyText(ctx, text)
		},
		done: func(err error) {
			if m.copiedTooLate() {
				return
			}
			if err != nil {
				m.fail(err)
				return
			}
			m.say(kit.Notice{Role: kit.OK, Text: "Copied " + as})
		},
	})
}

// suspend stops the program as Ctrl-Z does in a shell, with nothing on the screen.
func (m *Model) suspend() {
	if canStop {
		m.pause(stopSelf{}, nil)
	}
}

// pause gives the terminal to something else, with nothing of ours on it, and
// goes on after that.
func (m *Model) pause(c tea.ExecCommand, then func()) {
	m.vanish()
	m.left = m.now()
	m.run(m.config.Exec(c, backMsg{then}))
}

// back is after a pause: what was there is drawn again, unless it was long.
func (m *Model) back() {
	away := m.now().Sub(m.left)
	m.left, m.blank = time.Time{}, false
	if away >= time.Minute || away < 0 || m.now().Sub(m.seen) >= m.config.idleFor(m.env) {
		m.lock(away)
	}
}

// drafts is the number of changes that would end with the screens that are open.
func (m *Model) drafts() (n int) {
	for _, s := range m.screens {
		if d, ok := s.(screen.Drafter); ok {
			n += d.Drafts()
		}
	}
	return n
}

// interrupt leaves, and asks once if something would be lost. Asked again by the
// same key it leaves.
func (m *Model) interrupt() { m.orElse(m.unsent(), "leave", m.leave) }

// orElse does what n changes would be lost by, or asks first.
func (m *Model) orElse(n int, verb string, do func()) {
	write := m.lanes[laneWrite]
	switch {
	case n == 0 && write == nil, m.asking:
		do()
		return
	case m.locked || write != nil || m.size() == kit.TooSmall: // there is no room for a box
		text := unsentText(n) + " and would be lost."
		if write != nil {
			text = "Still " + write.what + "."
		}
		m.asking = true
		m.say(kit.Notice{Role: kit.Warn, Text: text + " The same key again leaves all the same."})
		return
	}
	m.asking = true
	m.askLoss(n, verb, do)
}

// askLoss does what n changes would be lost by, if somebody wants it.
func (m *Model) askLoss(n int, verb string, do func()) {
	c := &kit.Confirm{Title: "Leave?", Verb: verb, Facts: []string{unsentText(n) + " and would be lost."}, Role: kit.Warn}
	m.dialogs.Push(c, func() {
		m.asking = false
		if c.Consent().Use() {
			do()
		}
	})
}

// goBack goes to the screen below, and asks first if what was typed on this one
// would be lost.
func (m *Model) goBack() {
	if d, ok := m.top().(screen.Drafter); ok && d.Drafts() > 0 {
		m.askLoss(d.Drafts(), "go back", m.pop)
		return
	}
	m.pop()
}

// unsent is the number of changes that would be lost.
func (m *Model) unsent() int {
	return m.drafts() + m.pending.Count() + len(m.editings)
}

func unsentText(n int) string {
	if n == 1 {
		return "1 change has not been sent"
	}
	return kit.Number(n) + " changes have not been sent"
}

// leave ends the program: nothing on the screen, no job left.
func (m *Model) leave() {
	m.vanish()
	m.unask("envrun has ended")
	m.stopAll()
	m.run(tea.Quit)
}

// die is after a panic: nothing on the screen, and out.
func (m *Model) die(c *Crash) {
	if m.crash == nil {
		m.crash = c
	}
	m.cmds = m.cmds[:0]
	m.leave()
}
