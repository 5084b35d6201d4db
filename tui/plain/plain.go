// Package plain is the interface in lines, for people who are read to and for
// terminals that can do nothing but print: numbered rows and menus, questions
// that a line answers, and one line for whatever has changed.
//
// It refuses to write anything but printable text and newlines: no cursor is
// moved, nothing is coloured, drawn again or taken back. It refuses to print a
// value before somebody has read that it stays where it is printed, and has typed
// yes to that.
//
// It knows no screen, no act and no word of its own about secrets. It drives what
// the drawn interface is made of (tui.Lines): the same screens say what there is,
// the same table says what can be done, what it is called and why it is off, the
// same boxes ask, and a change needs the same consent. An action is chosen by the
// number, the name or the key that it has there, so that "R asks for access" on a
// screen is true here too. Whatever is new there is here without a line of code,
// or has a reason in without.
//
// The prompts are those that the commands ask with, which cmd brings (Terminal).
// The accessible mode of charm.land/huh was weighed and left: it asks for forms,
// and forms are the least of what is here; it writes styles on its own account,
// reads lines without a context that ends them, and with lipgloss and bubbles
// behind it costs 0.8 MB and 0.2 ms of every start of a command (measured, v2.0).
package plain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"envrun/tui"
	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
)

// Terminal is how a person is asked. Each question ends with ErrEnd when nobody
// is there any more: at the end of input, by Ctrl-C, or when the context ends.
type Terminal struct {
	Out io.Writer // gets printable text and newlines

	// Line asks for a line that may be seen; what it returns has no spaces around it.
	Line func(ctx context.Context, question string) (string, error)
	// Hidden asks for a line that is not shown as it is typed. HiddenLines asks for
	// several, up to a line with a dot alone; each ends with a newline.
	Hidden      func(ctx context.Context, question string) ([]byte, error)
	HiddenLines func(ctx context.Context, question string) ([]byte, error)
}

// ErrEnd is the end of the conversation.
var ErrEnd = errors.New("nobody answers any more")

// without are the actions that make no sense in lines, and why. The help says so.
func without() map[string]string {
	return map[string]string{
		screen.Peek:        "no key is held down here: v prints the value, if you say yes to that",
		screen.ShowTyped:   "what is typed is not shown; v prints it afterwards, if you say yes to that",
		screen.DoneTyping:  "each answer ends with enter",
		screen.KeepFilter:  "a filter is kept as soon as it is typed",
		screen.ListUp:      "a filter is typed whole",
		screen.ListDown:    "a filter is typed whole",
		screen.Complete:    "it is typed whole",
		screen.TakePresent: "a value is typed whole here: the editor (ctrl+e) changes a part of one",
		screen.StopIt:      "while something is read nothing is typed: ctrl+c stops it",
		screen.Mouse:       "there is no mouse here",
		screen.NextTheme:   "nothing is coloured here",
		screen.Lock:        "it would hide nothing: what was printed stays in the terminal. Close that, or clear it and its scrollback",
		screen.Unlock:      "nothing is locked here",
		screen.Suspend:     "the ctrl+z of your shell works as it is",
	}
}

// width is how wide what is printed is laid out: no command to be pasted is broken
// there, and no name cut off. Where columns stand far apart for that, they are
// printed two spaces apart.
const width = 400

// Run talks with a person until they leave, ctx ends or a signal comes. It takes
// SIGINT, SIGTERM and SIGHUP while something is under way, and makes the process
// leave no core.
func Run(ctx context.Context, c tui.Config, t Terminal) (tui.End, error) {
	tui.LeaveNoCore()
	return run(ctx, c, t, func(string) {})
}

// run is Run; did is told which actions are done.
func run(ctx context.Context, c tui.Config, t Terminal, did func(id string)) (tui.End, error) {
	lines, err := tui.NewLines(ctx, c, width, without())
	if err != nil {
		return tui.End{}, err
	}
	defer lines.Close()
	ctx, stop, release := signals(ctx, lines.Lent)
	s := &session{ctx: ctx, lines: lines, t: t, did: did, stop: stop, marks: lines.Marks(), hinted: map[string]bool{}}
	s.run()
	end := lines.End()
	if end.Signal = release(); end.Signal != nil {
		return end, nil // a terminal that hung up cannot be written to
	}
	return end, s.broken
}

// A session is one conversation.
type session struct {
	ctx   context.Context
	lines *tui.Lines
	t     Terminal
	stop  <-chan struct{}
	marks kit.Marks
	did   func(action string)

	ended  bool  // nobody answers any more
	broken error // the terminal cannot be written to or read from

	at       screen.Screen // what was printed last
	env      string
	seen     map[string]int  // its lines
	hinted   map[string]bool // the kinds of screens of which it was said what is most useful
	row      int             // where its cursor was
	standing string

	filled   screen.Screen // whose form was gone through
	answered bool          // what an action has begun to ask for
	several  bool          // the next value has several lines
	filter   *string       // what the next filter is to be, if it was typed already
	printed  bool          // a value was asked for
	gone     string        // the row that was gone to
	now      time.Time     // for what is said of times, so that no line changes by itself
}

// out prints a line that may be from anybody.
func (s *session) out(text string) {
	if _, err := io.WriteString(s.t.Out, s.marks.Line(text)+"\n"); err != nil && s.broken == nil {
		s.broken, s.ended = err, true
	}
}

// Say implements kit.Talk.
func (s *session) Say(text string) { s.out(text) }

// Line implements kit.Talk. "esc" goes back, as the key does elsewhere.
func (s *session) Line(question string) (string, bool) {
	answer, err := s.ask(question)
	return answer, err == nil && answer != "esc"
}

// Hidden implements kit.Talk.
func (s *session) Hidden(question string) ([]byte, bool) {
	if s.ended {
		return nil, false
	}
	answer, err := s.t.Hidden(s.ctx, s.marks.Line(question))
	if errors.Is(err, ErrLines) {
		s.out("Several lines came at once, and none of them was taken.")
		return nil, false
	}
	s.failed(err)
	return answer, err == nil
}

// Marks implements kit.Talk.
func (s *session) Marks() kit.Marks { return s.marks }

func (s *session) ask(question string) (string, error) {
	if s.ended {
		return "", ErrEnd
	}
	answer, err := s.t.Line(s.ctx, s.marks.Line(question))
	s.failed(err)
	return answer, err
}

// failed notes that nobody answers any more.
func (s *session) failed(err error) {
	if err == nil || s.ended {
		return
	}
	s.ended = true
	if !errors.Is(err, ErrEnd) && s.ctx.Err() == nil {
		s.broken = err
	}
}

func (s *session) run() {
	project, who := s.lines.About()
	about := "envrun, in lines."
	if project != "" {
		about += " Project " + project + "."
	}
	if who != "" {
		about += " You are " + who + "."
	}
	s.out(about)
	s.out("Type the number of a row to go to it, and a name or a key for what is to be done: open, reveal or v; 3 copy does it to row 3. Enter alone is the enter key, esc goes back. : is a numbered menu, ? says what works here, q leaves.")
	s.lines.Start()
	for {
		s.settle()
		if s.ended || s.lines.Over() {
			break
		}
		env, _, _ := s.lines.Place()
		line, err := s.ask(env + "> ")
		if err == nil {
			s.obey(line)
		}
	}
	if what := s.lines.Writing(); what != "" {
		s.out("Left while " + what + " was not done: look whether it is.")
	}
	if n := s.lines.Unsent(); n > 0 && s.ended {
		s.out("Left. What was changed and not sent is gone: " + kit.Number(n) + ".")
	}
}

// settle waits until nothing is under way and nothing is asked, and says what has
// become of it.
func (s *session) settle() {
	for !s.ended {
		if err := s.lines.Wait(s.ctx, s.stop, func(what string) { s.out("Waiting: " + what) }); err != nil {
			s.ended = true
			return
		}
		s.sayNotices()
		if s.lines.Over() {
			return
		}
		s.value()
		if s.typed() == "" {
			s.sayScreen()
		}
		switch {
		case s.lines.Talk(s):
		case s.typing():
		default:
			s.sayStanding()
			s.sayHints()
			return
		}
	}
}

// sayNotices says what has happened, all of it.
func (s *session) sayNotices() {
	for _, n := range s.lines.Notices() {
		text := n.Details
		if text == "" {
			text = n.Text
		}
		if n.Role == kit.Danger {
			text = "! " + text
		}
		for i, line := range strings.Split(text, "\n") {
			if i > 0 {
				line = "  " + line // whatever it says, it is none of ours
			}
			s.out(line)
		}
	}
}

func (s *session) sayStanding() {
	all := s.lines.Standing()
	text := strings.Join(all, "; ")
	if text == s.standing {
		return
	}
	s.standing = text
	if text == "" {
		text = "nothing waits, and nothing is unsent"
	}
	s.out("Now: " + text + ".")
}

// sayScreen says what is new on the screen: all of another one, and of the same
// one the lines that were not there before.
func (s *session) sayScreen() {
	env, title, at := s.lines.Place()
	another := at != s.at || env != s.env
	if another {
		s.now = time.Time{}
	}
	all, list, now := s.lines.Text(s.now)
	s.now = now
	seen := map[string]int{}
	var fresh []kit.Printed
	row, was := 0, s.row
	for _, l := range all {
		if l.At {
			row = l.Row
		}
		key := strconv.Itoa(l.Row) + l.Text
		if seen[key]++; seen[key] > s.seen[key] || l.At && (l.Row != was || s.gone != "") {
			fresh = append(fresh, l)
		}
	}
	if another {
		s.out(title + ", in " + env + ":")
		fresh = all
	}
	numbered := false
	for _, l := range fresh {
		s.out(numberOf(l, list != nil) + l.Text)
		if l.At && s.gone != "" && strings.Contains(l.Text, s.marks.Ellipsis) {
			s.out("        " + s.gone) // it was cut off
		}
		numbered = numbered || l.Row > 0
	}
	if list != nil && numbered && list.Above()+list.Below() > 0 && len(fresh) > 1 {
		s.out("rows " + kit.Number(list.Above()+1) + " to " + kit.Number(list.Lines()-list.Below()) + " of " + kit.Number(list.Lines()) + ": page down, page up")
	}
	s.at, s.env, s.seen, s.row, s.gone = at, env, seen, row, ""
}

// numberOf is what stands before a line: the number of a row and the mark of the
// one that the cursor is on.
func numberOf(l kit.Printed, numbered bool) string {
	if !numbered {
		return ""
	}
	const blank = "       "
	if l.Row == 0 {
		return blank
	}
	n := strconv.Itoa(l.Row)
	mark := " "
	if l.At {
		mark = ">"
	}
	return blank[:max(len(blank)-2-len(n), 0)] + mark + n + " "
}

// sayHints says once for each kind of screen what can be done there.
func (s *session) sayHints() {
	kind := fmt.Sprintf("%T", s.at)
	if s.hinted[kind] {
		return
	}
	s.hinted[kind] = true
	var names []string
	for _, h := range s.lines.Hints() {
		names = append(names, h.Name+" ("+h.Key+")")
	}
	if s.offered(screen.Back) {
		names = append(names, "back (esc)")
	}
	if in, _ := s.lines.Input(); in != nil {
		names = append(names, "type (fills it in again)")
	}
	if len(names) > 0 {
		s.out("Here: " + strings.Join(names, ", ") + "; ? says all.")
	}
}

// value prints a value that was asked for, once.
func (s *session) value() {
	if !s.printed {
		return
	}
	s.printed = false
	s.lines.Revealed(func(value []byte) {
		b := s.marks.Printed(make([]byte, 0, 2*len(value)+1), value)
		b = append(b, '\n')
		if _, err := s.t.Out.Write(b); err != nil && s.broken == nil {
			s.broken, s.ended = err, true
		}
		clear(b)
	})
}

// typing has somebody type what a screen asks for, and reports whether there was
// something to be typed. What an action has begun is ended with the answer; a
// screen that is a form is gone through when it comes, and again for "type".
func (s *session) typing() bool {
	in, asks := s.lines.Input()
	ends := s.typed()
	if in == nil || ends == "" {
		s.answered = false
	}
	_, _, at := s.lines.Place()
	switch {
	case in == nil, ends == "" && s.filled == at:
		return false
	case ends == "":
		s.filled = at
		s.fill(in, asks)
	case s.answered:
		s.answered = false
		s.did(ends)
		s.lines.Do(ends)
	default:
		s.answered = true
		s.fill(in, asks)
	}
	return true
}

// typed is the action that ends what an action has begun to ask for; empty if none
// has.
func (s *session) typed() string {
	for _, id := range [...]string{screen.DoneTyping, screen.KeepFilter} {
		if s.offered(id) {
			return id
		}
	}
	return ""
}

// fill asks for what an input takes.
func (s *session) fill(in screen.Input, asks string) {
	switch in := in.(type) {
	case *draft.Input:
		s.secret(in, asks)
	case interface{ Form() *kit.Form }:
		in.Form().Talk(s)
	case *kit.Form:
		in.Talk(s)
	case *kit.Field:
		if s.filter == nil {
			kit.TalkInput(s, asks, in)
			break
		}
		in.Set(*s.filter)
		s.filter = nil
	}
	s.lines.Typed()
}

// secret asks for a value.
func (s *session) secret(in *draft.Input, asks string) {
	ask, question := s.t.Hidden, asks+", not shown; enter alone leaves it as it is: "
	if s.several {
		ask, question = s.t.HiddenLines, asks+", not shown, in lines; a dot alone ends it: "
	}
	s.several = false
	b, err := ask(s.ctx, s.marks.Line(question))
	defer clear(b)
	switch {
	case errors.Is(err, ErrLines):
		s.out("Several lines came at once, and none of them was taken: lines asks for several.")
	case err != nil:
		s.failed(err)
	case len(b) > 0:
		in.Clear()
		in.Paste(string(b))
	}
}

// ErrLines is what Hidden says of several lines that came at once.
var ErrLines = errors.New("several lines came at once")

func (s *session) offered(id string) bool {
	for _, o := range s.lines.Offers() {
		if o.ID == id {
			return true
		}
	}
	return false
}

// obey does what was typed at the prompt.
func (s *session) obey(line string) {
	first, rest, _ := strings.Cut(line, " ")
	if n, err := strconv.Atoi(first); err == nil {
		name, ok := s.lines.Row(n)
		if !ok {
			s.out("There is no row " + first + ".")
			return
		}
		if rest = strings.TrimSpace(rest); rest != "" {
			s.obey(rest)
			return
		}
		s.gone = name
		return
	}
	switch {
	case line == "again":
		s.at = nil
		return
	case strings.HasPrefix(line, "/") && len(line) > 1 && s.offered(screen.Filter):
		text := line[1:]
		s.filter = &text
		s.do(screen.Filter)
		return
	}
	if o, ok := choose(s.lines.Actions(), s.lines.Offers(), line); ok {
		if o.Off != "" {
			s.out(s.lines.Actions().Get(o.ID).Name + ": " + o.Off + ".")
			return
		}
		s.do(o.ID)
		return
	}
	switch in, _ := s.lines.Input(); {
	case line == "":
		s.at = nil
	case line == "esc":
		s.out("There is nothing to go back to: q leaves.")
	case in != nil && line == "type":
		s.filled = nil
	case s.severalLines(line):
	default:
		if !s.goTo(line) {
			s.out("Nothing here is called \"" + line + "\": ? says what is.")
		}
	}
}

// severalLines begins to type a value of several lines.
func (s *session) severalLines(line string) bool {
	a := s.lines.Actions().Get(screen.SeveralLines)
	if !called(a, line) {
		return false
	}
	for _, o := range s.lines.Offers() {
		if o.ID == screen.TypeIt && o.Off == "" {
			s.several = true
			s.did(screen.SeveralLines)
			s.do(screen.TypeIt)
			return true
		}
	}
	return false
}

// goTo goes to the environment of a name.
func (s *session) goTo(name string) bool {
	for _, e := range s.lines.Envs() {
		if string(e.Name) == name {
			s.lines.GoTo(e.Name)
			return true
		}
	}
	return false
}

// called reports whether an action is meant by what was typed: by its name, or by
// a key of it.
func called(a kit.Action, typed string) bool {
	if typed != "" && (typed == strings.TrimSuffix(a.Name, "...") || typed == a.Name) {
		return true
	}
	for _, k := range a.Keys {
		if typed == k || typed == kit.KeyLabel(k) {
			return true
		}
	}
	return false
}

// choose is what is meant among what is offered: by key before by name, and what
// can be used before what cannot.
func choose(table *kit.Actions, offers []kit.Offer, typed string) (meant kit.Offer, ok bool) {
	key := typed
	if typed == "" {
		key = "enter"
	}
	if _, o, ok := table.Match(offers, kit.Key{Name: key}); ok {
		return o, true
	}
	for _, o := range offers {
		if (o.Name == "" || o.Name != typed) && !called(table.Get(o.ID), typed) {
			continue
		}
		if o.Off == "" {
			return o, true
		}
		if !ok {
			meant, ok = o, true
		}
	}
	return meant, ok
}

// do does an action. What shows a value asks first, since nothing takes it back.
func (s *session) do(id string) {
	s.did(id)
	switch id {
	case screen.ShowHide:
		s.reveal()
	case screen.Help:
		s.lines.Do(id)
		s.lines.Talk(s)
		s.out("  In lines:")
		for _, text := range help {
			s.out("    " + text)
		}
	default:
		s.lines.Do(id)
	}
}

// help is what is not in the table of actions.
var help = [...]string{
	"a number  to the row; with a name or a key behind it, that is done to it",
	"/words  filter by them",
	"the name of an environment  go there",
	"type  fill a form in again",
	"lines  where a value can be typed: one of several lines",
	"again  say all of this screen once more",
	"ctrl+c or ctrl+d  leave; ctrl+c while something is read stops that",
}

// reveal prints a value, if somebody has read what that means.
func (s *session) reveal() {
	t, ok := s.lines.Target()
	if !ok {
		s.lines.Reveal()
		return
	}
	which := ", as it was typed,"
	if !t.Typed {
		which = ", version " + strconv.FormatUint(t.Version, 10) + ","
	}
	s.out("The value of " + string(t.Path) + "/" + string(t.Field) + which + " is printed here, and stays: in the scrollback, and wherever what this terminal prints is kept or read out. copy (y) shows nothing.")
	if answer, ok := s.Line("Type yes to print it [no]: "); !ok || strings.ToLower(answer) != "yes" {
		s.out("Not printed.")
		return
	}
	s.printed = true
	s.lines.Reveal()
}
