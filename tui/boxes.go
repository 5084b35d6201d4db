package tui

import (
	"context"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
)

// A command is one line of the palette.
type command struct {
	name  string // what is found
	short string // without the help
	key   string // what does it directly
	off   string // why it cannot be used now
	do    func()
}

// commands are what the palette finds: actions, environments and requests, and
// after them the names of the environment one is at.
type commands struct {
	all   []command
	names kit.Rows
}

// Len implements kit.Rows.
func (c commands) Len() int { return len(c.all) + c.names.Len() }

// Name implements kit.Rows.
func (c commands) Name(row int) string {
	if row < len(c.all) {
		return c.all[row].name
	}
	return c.names.Name(row - len(c.all))
}

// palette finds actions, environments, requests and names with one matcher, and
// shows their keys. The names are found by the index that their list has.
func (m *Model) palette() {
	var found commands
	for _, o := range m.offers() {
		a := m.actions.Get(o.ID)
		if a.Group == screen.GroupMove || a.ID == screen.Palette {
			continue
		}
		c := command{short: a.Name, name: a.Name + ": " + a.Help, off: o.Off, do: func() { m.do(a.ID) }}
		if len(a.Keys) > 0 {
			c.key = kit.KeyLabel(a.Keys[0])
		}
		found.all = append(found.all, c)
	}
	for i, e := range m.config.Envs {
		c := command{name: "go to environment " + string(e.Name), do: func() { m.goTo(e.Name) }}
		if i < 9 && !m.lines {
			c.key = string(rune('1' + i))
		}
		found.all = append(found.all, c)
	}
	for _, q := range m.asked {
		found.all = append(found.all, command{name: "request of " + q.Who + " for " + string(q.Env), key: m.keyOf(screen.GoInbox), do: func() { m.toRequest(q.ID) }})
	}
	var index kit.Index
	for _, c := range found.all {
		index.Add(c.name)
	}
	browse, _ := m.homeOf(m.env).(*screen.Browse)
	found.names = kit.Names{}
	if browse != nil {
		var known kit.Index
		found.names, known = browse.Names()
		index.Join(known)
	}
	slash := m.keyOf(screen.Filter)
	p := kit.NewPickOf(": commands", found, index, len(found.all), func(a kit.Area, ln kit.Line) {
		if ln.Row >= len(found.all) {
			a.FitRight(a.W-8, 0, 8, kit.In(kit.Dim), slash)
			a.FitEnd(0, 0, a.W-9, kit.In(kit.Accent), ln.Name)
			return
		}
		c := found.all[ln.Row]
		a.FitRight(a.W-8, 0, 8, kit.In(kit.Dim), c.key)
		st := kit.Style{}
		text := c.name
		if c.off != "" {
			st, text = kit.In(kit.Dim), c.short+" (off: "+c.off+")"
		}
		a.Fit(0, 0, a.W-9, st, text)
	})
	p.Ask = "an action, an environment or a request"
	if n := found.names.Len(); n > 0 {
		p.Ask = "an action, an environment or one of " + kit.Number(n) + " names"
	}
	m.dialogs.Push(p, func() {
		row, ok := p.Taken()
		switch {
		case !ok:
		case row >= len(found.all):
			if s, ok := browse.OpenName(found.Name(row)); ok {
				m.push(s)
			} else {
				m.say(kit.Notice{Role: kit.Warn, Text: found.Name(row) + " is not there any more."})
			}
		case found.all[row].off != "":
			m.say(kit.Notice{Text: "Not now: " + found.all[row].off})
		default:
			found.all[row].do()
		}
	})
}

// help lists the keys that work here, and says why others do not.
func (m *Model) help() {
	offers := m.offers()
	sheet := &kit.Sheet{Title: "? " + m.top().Title()}
	most := 2 // keys of an action
	if m.size() == kit.Small {
		most = 1
	}
	for _, group := range screen.Groups() {
		head := group
		for _, o := range offers {
			a := m.actions.Get(o.ID)
			if a.Group != group || o.Off != "" || len(a.Keys) == 0 {
				continue
			}
			var keys []string
			if m.lines { // where its name can be typed too
				keys = append(keys, strings.TrimSuffix(a.Name, "..."), "or")
			}
			for _, k := range a.Keys[:min(len(a.Keys), most)] {
				keys = append(keys, kit.KeyLabel(k))
			}
			sheet.Lines = append(sheet.Lines, kit.SheetLine{Head: head, Key: strings.Join(keys, " "), Text: a.Help})
			head = ""
		}
		if group == "Go" && len(m.config.Envs) > 1 && !m.lines {
			sheet.Lines = append(sheet.Lines, kit.SheetLine{Head: head, Key: "1-9", Text: "to the environment of that number"})
		}
	}
	head := "Off now"
	for _, o := range offers {
		if o.Off != "" {
			a := m.actions.Get(o.ID)
			sheet.Lines = append(sheet.Lines, kit.SheetLine{Head: head, Key: strings.Join(a.Keys[:min(len(a.Keys), 1)], ""), Text: a.Name + ": " + o.Off, Style: kit.In(kit.Dim)})
			head = ""
		}
	}
	m.dialogs.Push(sheet, nil)
}

// keyOf is the key of an action, as it is shown.
func (m *Model) keyOf(id string) string { return kit.KeyLabel(m.actions.Get(id).Keys[0]) }

// details shows all of the last notice, which is then no longer held up, and
// what was said before.
func (m *Model) details() {
	var lines []kit.SheetLine
	if m.notice.Details != "" {
		lines = append(lines, kit.SheetLine{Text: m.notice.Details})
	}
	head := "Said before"
	for i := len(m.heard) - 1; i >= 0; i-- {
		if m.heard[i] != m.notice.Details {
			lines = append(lines, kit.SheetLine{Head: head, Text: m.heard[i]})
			head = ""
		}
	}
	if lines == nil {
		return
	}
	m.dialogs.Push(&kit.Sheet{Title: "Details", Lines: lines}, nil)
	m.notice = kit.Notice{}
}

// pickEnv goes to an environment by name.
func (m *Model) pickEnv() {
	var names kit.Names
	for _, e := range m.config.Envs {
		names = append(names, string(e.Name))
	}
	p := kit.NewPick("Environment", names, func(a kit.Area, ln kit.Line) {
		e := m.config.Envs[ln.Row]
		st := kit.Style{}
		if e.Protected {
			st = kit.In(kit.Protected)
		}
		x := a.Fit(0, 0, min(a.W, m.marks.Width(envLabel(e))), st, envLabel(e))
		if r, ok := m.project.Reached(e.Name); ok {
			a.FitRight(x+2, 0, a.W-x-2, kit.In(kit.Dim), r.Brief())
		}
	})
	m.dialogs.Push(p, func() {
		if row, ok := p.Taken(); ok {
			m.goTo(m.config.Envs[row].Name)
		}
	})
}

var themeNames = [...]string{"auto", "dark", "light", "contrast", "mono"}

func (m *Model) nextTheme() {
	next := 0
	for i, n := range themeNames {
		if n == m.themeName || i == 0 && m.themeName == "" {
			next = (i + 1) % len(themeNames)
		}
	}
	m.themeName = themeNames[next]
	m.dress()
	m.remember()
	m.say(kit.Notice{Text: "Theme: " + m.themeName})
	if m.config.Look.NoColor {
		m.say(kit.Notice{Text: "Theme: " + m.themeName + ", without colours as NO_COLOR asks"})
	}
}

// remember writes the state file, beside the interface. That it cannot be
// written is no reason to disturb anybody.
func (m *Model) remember() {
	if m.config.StateFile == "" {
		return
	}
	s := state{Env: string(m.env), Theme: m.themeName, Tree: m.project.Tree, Share: m.shareKept != shareOff, HideNames: m.shareKept == shareNames}
	m.start(&job{lane: lane{name: laneState}, limit: 5 * time.Second,
		do:   func(context.Context, func(func()) bool) error { return s.save(m.config.StateFile) },
		done: func(error) {},
	})
}
