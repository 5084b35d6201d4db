package screen

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// theirsOf reads what has become of a secret since a version of it.
func theirsOf(ctx context.Context, r Reading, p *Project, base vault.Info) (draft.Theirs, error) {
	var t draft.Theirs
	info, err := r.Info(ctx, base.Env, base.Path)
	switch {
	case err == nil:
		t.Now = info
	case vault.KindOf(err) != vault.KindNotFound:
		return t, err
	}
	if t.Now.Version == base.Version && err == nil || base.Version == 0 && err != nil {
		return t, nil
	}
	// Who it was is good to know, and no reason to fail.
	for v, err := range r.Versions(ctx, base.Env, base.Path) {
		if err != nil || v.Version <= base.Version {
			break
		}
		t.Between = append(t.Between, v)
	}
	if !t.There() && len(t.Between) > 0 && t.Between[0].Deleted {
		t.Now = t.Between[0]
	}
	if t.There() && p.FreeFacts {
		t.Facts, _ = r.Facts(ctx, base.Env, base.Path, t.Now.Version)
	}
	return t, ctx.Err()
}

// conflictLine is the one line that says that somebody else was there.
func conflictLine(d *draft.Draft, now time.Time) string {
	t := d.Theirs()
	switch base := d.Base(); {
	case !t.There():
		when := ""
		if t.Now.Deleted {
			when = by(t.Now.By) + ", " + ago(now, t.Now.At) + " ago"
		}
		return fmt.Sprintf("%s was deleted%s. Yours is based on version %d.", base.Path, when, base.Version)
	case base.Version == 0:
		return fmt.Sprintf("%s is there by now: version %d%s, %s ago.", base.Path, t.Now.Version, by(t.Who()), ago(now, t.Now.At))
	default:
		return fmt.Sprintf("%s is at version %d%s, %s ago. Yours is based on version %d.", base.Path, t.Now.Version, by(t.Who()), ago(now, t.Now.At), base.Version)
	}
}

// conflictBrief is the same in a few words.
func conflictBrief(d *draft.Draft) string {
	t := d.Theirs()
	if !t.There() {
		return "! deleted" + by(t.Who()) + "; D compares"
	}
	return fmt.Sprintf("! version %d%s; D compares", t.Now.Version, by(t.Who()))
}

var changeWords = [...]string{draft.Kept: "as it was", draft.Replaced: "changed", draft.Added: "new", draft.Removed: "removed"}

// resolve shows what somebody else has changed, and asks what becomes of the
// draft. then is called when that has changed.
func resolve(p *Project, d *draft.Draft, now time.Time, then func() Effect) Effect {
	t := d.Theirs()
	if t == nil {
		return nil
	}
	var rows []string
	for _, f := range d.Differences() {
		text := "  " + f.Ref.String() + ": they " + theirWords(f)
		if f.Mine != draft.Kept {
			text += "; yours is " + changeWords[f.Mine]
		}
		switch {
		case f.Known && f.Same && f.Mine != draft.Kept:
			text += ", to the same"
		case f.Known && f.Mine != draft.Kept:
			text += ", to something else"
		}
		rows = append(rows, text)
	}
	if len(rows) == 0 {
		rows = append(rows, "  No field and no note is different.")
	}
	q := &kit.Question{Title: "Somebody else has changed " + string(d.Path()), Role: kit.Warn, Facts: append([]string{conflictLine(d, now)}, rows...)}
	onto := fmt.Sprintf("Put mine on version %d", t.Now.Version)
	if !t.There() {
		onto = "Make it a new secret of mine"
	}
	var names []string
	for _, f := range d.Both() {
		names = append(names, f.Ref.String())
	}
	act := []func(){nil}
	q.Answers = []string{"Leave my draft as it is for now"}
	add := func(text string, f func()) { q.Answers, act = append(q.Answers, text), append(act, f) }
	if len(names) == 0 {
		add(onto, func() { d.Rebase(true) })
	} else {
		both := strings.Join(names, ", ")
		q.Lose = append(q.Lose, len(q.Answers))
		add(onto+", theirs for "+both, func() { d.Rebase(false) })
		add(onto+", mine for "+both, func() { d.Rebase(true) })
	}
	q.Lose = append(q.Lose, len(q.Answers))
	add("Drop my draft", func() { p.Drafts.Discard(d) })
	return Ask{Dialog: q, Then: func() Effect {
		if answer, ok := q.Taken(); ok && act[answer] != nil {
			act[answer]()
			return then()
		}
		return nil
	}}
}

func theirWords(f draft.Difference) string {
	switch f.Theirs {
	case draft.Added:
		return "added it" + lengthOf(f.Facts)
	case draft.Removed:
		return "removed it"
	}
	return "changed it" + lengthOf(f.Facts)
}

func lengthOf(f Facts) string {
	if f.Length < 0 {
		return ""
	}
	return " (" + size(f) + ")"
}

// size is how long a value is, in a word or two (R2).
func size(f Facts) string {
	switch {
	case f.Length == 0:
		return "empty"
	case f.Length < 16:
		return "short"
	}
	return kit.Number(f.Length) + " bytes"
}

// lose asks before a value that somebody typed is dropped; where there is none,
// it is done at once.
func lose(row draft.Row, then func() Effect) Effect {
	if !row.Typed || row.Facts.Length == 0 {
		return then()
	}
	return loseTyped(row.Ref.String(), then)
}

func loseTyped(name string, then func() Effect) Effect {
	q := &kit.Question{Title: "Drop what was typed for " + name + "?", Role: kit.Warn, Answers: []string{"Keep it", "Drop it"}, Lose: []int{1},
		Facts: []string{"It is nowhere else, and cannot be brought back."}}
	return Ask{Dialog: q, Then: func() Effect {
		if answer, ok := q.Taken(); ok && answer == 1 {
			return then()
		}
		return nil
	}}
}

// draftRows are rows of a draft as a list shows them.
type draftRows []draft.Row

// Len implements kit.Rows.
func (r draftRows) Len() int { return len(r) }

// Name implements kit.Rows. What is said of the secret has names that no field has.
func (r draftRows) Name(row int) string { return refName(r[row].Ref) }

func refName(ref draft.Ref) string {
	if ref.Kind != draft.Field {
		return " " + ref.String()
	}
	return string(ref.Name)
}

// changeText says what happens to a row, and in which role.
func changeText(r draft.Row) (string, kit.Role) {
	switch {
	case r.Change == draft.Kept:
		return "", kit.Dim
	case r.Change == draft.Added:
		return "new", kit.Added
	case r.Change == draft.Removed && r.Over > 0, r.Change == draft.Replaced && r.Over > 0:
		return fmt.Sprintf("over v%d", r.Over), kit.Danger
	case r.Change == draft.Removed:
		return "removed", kit.Removed
	case r.Kind != draft.Field:
		return "changed", kit.Accent
	}
	return "replaced", kit.Accent
}

// valueText says how long a value is and was, or what the text is.
func valueText(r draft.Row, was map[vault.FieldName]Facts) string {
	if r.Kind != draft.Field {
		if r.Kind == draft.Rotate && r.Text != "" && r.Change == draft.Kept {
			return "every " + r.Text
		}
		return r.Text
	}
	old, known := was[r.Name]
	switch {
	case r.Change == draft.Removed && known, r.Change == draft.Kept && known:
		return size(old)
	case r.Typed && known:
		return size(old) + " to " + size(r.Facts)
	case r.Typed:
		return size(r.Facts)
	}
	return ""
}

func factsByName(facts []Facts) map[vault.FieldName]Facts {
	if facts == nil {
		return nil
	}
	by := make(map[vault.FieldName]Facts, len(facts))
	for _, f := range facts {
		by[f.Name] = f
	}
	return by
}

// drawProblems writes what is wrong, at most so many lines, the bad ones first,
// and returns how many it took.
func drawProblems(a kit.Area, problems []draft.Problem, most int) int {
	sorted := slices.Clone(problems)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Bad && !sorted[j].Bad })
	n := min(len(sorted), most)
	for i, p := range sorted[:n] {
		text, role := "note  ", kit.Warn
		if p.Bad {
			text, role = "wrong ", kit.Danger
		}
		if p.Kind != draft.Field || p.Name != "" {
			text += p.Ref.String() + ": "
		}
		text += p.Text
		if i == n-1 && len(sorted) > n {
			text += fmt.Sprintf("  (and %d more)", len(sorted)-n)
		}
		a.Fit(0, i, a.W, kit.In(role), text)
	}
	return n
}

// bad is the first thing that keeps a draft from being sent; empty if nothing does.
func bad(d *draft.Draft) string {
	for _, p := range d.Problems() {
		if p.Bad {
			if p.Kind != draft.Field {
				return p.Ref.String() + ": " + p.Text
			}
			return p.Text
		}
	}
	return ""
}
