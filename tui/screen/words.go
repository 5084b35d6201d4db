package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// by says who did something, after what was done. Not every vault knows.
func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// ago is how long ago something was, in one unit: 40s, 3m, 5h, 41d, 2y.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	switch d := now.Sub(then); {
	case d < 0:
		return "now" // another clock than ours
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < 365*24*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	default:
		return fmt.Sprintf("%dy", d/(365*24*time.Hour))
	}
}

// due is when a value should be replaced; zero if nobody said.
func due(info vault.Info) time.Time {
	n := len(info.Rotate)
	if n < 2 || info.At.IsZero() {
		return time.Time{}
	}
	count, err := strconv.Atoi(info.Rotate[:n-1])
	if err != nil {
		return time.Time{}
	}
	switch info.Rotate[n-1] {
	case 'd':
		return info.At.AddDate(0, 0, count)
	case 'w':
		return info.At.AddDate(0, 0, 7*count)
	case 'm':
		return info.At.AddDate(0, count, 0)
	case 'y':
		return info.At.AddDate(count, 0, 0)
	}
	return time.Time{}
}

// rotation says when a value should be replaced, and how the word is to look.
func rotation(info vault.Info, now time.Time) (text string, role kit.Role) {
	when := due(info)
	switch {
	case when.IsZero():
		return "", kit.Normal
	case now.After(when):
		return "overdue by " + ago(now, when) + " (every " + info.Rotate + ")", kit.Danger
	case when.Sub(now) < 7*24*time.Hour:
		return "due in " + ago(when, now) + " (every " + info.Rotate + ")", kit.Warn
	}
	return "due in " + ago(when, now) + " (every " + info.Rotate + ")", kit.Normal
}

// measure says how long a value is. Of a short one the length alone would help
// to guess it (R2).
func measure(f Facts) string {
	length := "short, under 16 bytes"
	if f.Length >= 16 {
		length = kit.Number(f.Length) + " bytes"
	}
	if f.Length == 0 {
		length = "empty"
	}
	lines := "1 line"
	if f.Lines > 1 {
		lines = kit.Number(f.Lines) + " lines"
	}
	text := length + ", " + lines
	if f.Odd != "" && f.Odd != "empty" {
		text += ", " + f.Odd
	}
	return text
}

// label is an environment as it is written where it matters.
func label(e Env) string {
	if e.Protected {
		return strings.ToUpper(string(e.Name))
	}
	return string(e.Name)
}

// trouble is how a screen that could not be read says so: what happened, and
// what can be done.
type trouble struct {
	err  error
	at   time.Time // when the rows that are shown were read; zero: there are none
	text string
	next string
	want bool // somebody has to sign in
}

func newTrouble(p *Project, err error) *trouble {
	t := &trouble{err: err}
	t.text, t.next = p.Explain(err)
	if p.Wants != nil {
		_, t.want = p.Wants(err)
	}
	return t
}

// draw writes the trouble in the words of its kind, and returns the row after it.
func (t *trouble) draw(a kit.Area, e Env, now time.Time) int {
	head, role := "! Could not read "+label(e), kit.Danger
	switch vault.KindOf(t.err) {
	case vault.KindDenied, vault.KindNoIdentity:
		head, role = "L "+label(e)+" is locked for you", kit.Locked
	case vault.KindUnavailable:
		head = "OFFLINE: nobody answers for " + label(e)
	case vault.KindNoEnv:
		head = "There is no environment " + label(e) + " in this vault yet"
		role = kit.Warn
	case vault.KindUnsupported:
		head, role = "The vault of "+label(e)+" cannot do that", kit.Warn
	case vault.KindTampered:
		head = "! " + label(e) + " has been changed by somebody without its key. Nothing of it is used."
	}
	text := t.text
	if t.want {
		head, role, text = "L "+t.text, kit.Locked, ""
	}
	y := a.Paragraph(0, kit.Style{Role: role, Attr: kit.Bold}, head)
	if text != "" {
		y = a.Sub(0, y, a.W, a.H).Paragraph(0, kit.Style{}, text) + y
	}
	if t.next != "" {
		y = a.Sub(0, y, a.W, a.H).Paragraph(0, kit.In(kit.Dim), t.next) + y
	}
	if !t.at.IsZero() {
		y = a.Sub(0, y, a.W, a.H).Paragraph(0, kit.In(kit.Warn), "The rows below were read "+ago(now, t.at)+" ago and may be old.") + y
	}
	return y
}

// drawState says above a list what could not be read, in one line where there is
// little room, or that the job of a lane is still waited for, and returns what is
// below.
func drawState(a kit.Area, s Scene, e Env, t *trouble, waiting bool, lane, doing string) kit.Area {
	y := 0
	switch {
	case t != nil && s.Size == kit.Small:
		a.Fit(0, 0, a.W, kit.In(kit.Danger), "! "+t.text)
		y = 1
	case t != nil:
		y = t.draw(a, e, s.Now)
	case waiting && s.Lanes.Busy(lane).Shown(s.Now):
		a.Text(0, 0, kit.In(kit.Dim), doing+" "+a.Marks().Ellipsis)
		y = 1
	}
	_, rest := a.Top(y)
	return rest
}
