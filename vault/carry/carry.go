// Package carry brings the secrets of an environment from one vault to another, of
// whatever kinds they are: values, notes, tags and rotation, and where it is asked
// for every version that is kept, in order, with its deletions.
//
// It goes by what it finds. A secret whose versions at the target are some that stand
// one after the other at the source goes on from there, so a copy that was stopped is
// finished by the next, and one that is done again writes nothing. Nothing else of
// what it needs is kept anywhere.
//
// It refuses to write over what is different at the target, unless it is told to,
// and then does so as a new version; to remove anything there; and to write before
// all that stands in the way of any secret is known. Who wrote a version and when is
// not carried: at the target that is whoever carries, now.
package carry

import (
	"context"
	"slices"
	"sort"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/record"
)

// Options say what is carried, and how it is written.
type Options struct {
	History bool // every kept version, rather than the present one
	Replace bool // what is different at the target gets the present values of the source
	Leave   bool // what is different or cannot be carried stays where it is
	Keep    int  // how many versions of a secret the target keeps, the newest; 0: all

	// Batch is how many secrets are written as one, where the target can, and Width
	// how many such writes are under way at a time. Below 1 is 1.
	Batch, Width int
}

// State is how a secret at the target stands to that at the source.
type State string

const (
	New       State = "new"       // it is not at the target
	Behind    State = "behind"    // the target has an earlier state of it
	Same      State = "same"      // there is nothing to write
	Different State = "different" // the target has something else
	Unfit     State = "unfit"     // it cannot be read, or the target cannot hold it: Err
)

// Item is one secret of a Plan.
type Item struct {
	Path  vault.Path // may be empty if it is Unfit
	State State
	Err   error // of one that is Unfit
	Write int   // how many versions are to be written

	// Missing is how many versions below the last are not kept at the source, and
	// Older how many the target would not keep: the numbers there are lower.
	// OtherHistory says of one that is the same, or will be, that versions before
	// those that the target has are not there.
	Missing, Older int
	OtherHistory   bool

	kept  []vault.Secret // of the source, as far as they are carried
	write []vault.Secret // the last of kept
	was   uint64         // the version at the target
}

// Plan is what carrying an environment comes to.
type Plan struct {
	Env       vault.Env
	Items     []Item       // by path
	Elsewhere []vault.Path // that the target has and the source has not, which stay

	o Options
}

// Make reads both vaults and compares them. to is nil if the target does not have
// the environment yet.
func Make(ctx context.Context, from, to vault.Exporter, env vault.Env, o Options) (*Plan, error) {
	source, err := from.Export(ctx, env, o.History)
	if err != nil {
		return nil, err
	}
	there := map[vault.Path]vault.Kept{}
	if to != nil {
		kept, err := to.Export(ctx, env, o.History)
		if err != nil {
			return nil, err
		}
		for _, k := range kept {
			there[k.Path] = k
		}
	}
	p := &Plan{Env: env, o: o}
	for _, k := range source {
		target := there[k.Path]
		delete(there, k.Path)
		if item := o.item(env, k, target); item.Err != nil || len(item.kept) > 0 {
			p.Items = append(p.Items, item)
		}
	}
	for path, k := range there {
		if path != "" && present(k.Versions) {
			p.Elsewhere = append(p.Elsewhere, path)
		}
	}
	slices.Sort(p.Elsewhere)
	return p, nil
}

// item compares one secret.
func (o Options) item(env vault.Env, source, target vault.Kept) Item {
	i := Item{Path: source.Path, State: Unfit, Err: source.Err}
	if i.Err == nil {
		i.Err = target.Err
	}
	if i.Err != nil {
		return i
	}
	i.kept = trim(source.Versions)
	if len(i.kept) == 0 || !o.History && !present(i.kept) {
		i.kept = nil // it was deleted, and how it came to that is not asked for
		return i
	}
	last := i.kept[len(i.kept)-1]
	if o.History {
		i.Missing = int(last.Version) - len(i.kept)
	}
	there := trim(target.Versions)
	if len(there) == 0 {
		there = tail(target.Versions) // somebody deleted it there
	}
	i.compare(there)
	if i.State == Different && o.Replace {
		i.write = []vault.Secret{last}
	}
	if n := len(i.write) - o.Keep; o.Keep > 0 && n > 0 {
		i.write = trim(i.write[n:])
		i.Older = n
	}
	for _, s := range i.write {
		if err := record.CheckChanges(env, []vault.Change{change(s, 0)}); err != nil {
			return Item{Path: i.Path, State: Unfit, Err: err}
		}
	}
	i.Write = len(i.write)
	return i
}

// compare finds out how the target stands, and what is to be written.
//
// What a version holds is compared in steps: versions one after the other that have
// the same values are one, since notes of former versions are not kept everywhere,
// and a version that changes nothing is none.
func (i *Item) compare(there []vault.Secret) {
	if len(there) == 0 {
		i.State, i.write = New, i.kept
		return
	}
	last, lastThere := i.kept[len(i.kept)-1], there[len(there)-1]
	i.was = lastThere.Version
	want, have := steps(i.kept), steps(there)
	at := find(want, have)
	switch {
	case at >= 0 && at == len(want)-len(have) && sameNotes(last, lastThere), at < 0 && sameValues(last, lastThere) && sameNotes(last, lastThere):
		i.State, i.OtherHistory = Same, at != 0
	case at < 0 || !known(want[at+len(have)-1], lastThere):
		i.State = Different
	default:
		i.State, i.OtherHistory = Behind, at > 0
		for _, step := range want[at+len(have):] {
			i.write = append(i.write, step...)
		}
		if len(i.write) == 0 {
			i.write = []vault.Secret{last}
		}
	}
}

// find is where some steps stand one after the other among others: at the beginning,
// else as late as can be; -1 for nowhere.
func find(in, some [][]vault.Secret) int {
	is := func(at int) bool {
		for n, step := range some {
			if !sameValues(in[at+n][0], step[0]) {
				return false
			}
		}
		return true
	}
	if len(some) > len(in) {
		return -1
	}
	if is(0) {
		return 0
	}
	for at := len(in) - len(some); at > 0; at-- {
		if is(at) {
			return at
		}
	}
	return -1
}

// known reports whether a version has the notes of one of some, or none.
func known(some []vault.Secret, s vault.Secret) bool {
	return sameNotes(s, vault.Secret{}) || slices.ContainsFunc(some, func(o vault.Secret) bool { return sameNotes(o, s) })
}

// trim leaves out deletions of what never was.
func trim(versions []vault.Secret) []vault.Secret {
	for len(versions) > 0 && versions[0].Deleted {
		versions = versions[1:]
	}
	return versions
}

// present reports whether a secret is there, after its versions.
func present(versions []vault.Secret) bool {
	return len(versions) > 0 && !versions[len(versions)-1].Deleted
}

// steps are versions in groups of the same values.
func steps(versions []vault.Secret) (all [][]vault.Secret) {
	for n, s := range versions {
		if n > 0 && sameValues(versions[n-1], s) {
			all[len(all)-1] = append(all[len(all)-1], s)
		} else {
			all = append(all, []vault.Secret{s})
		}
	}
	return all
}

func sameValues(a, b vault.Secret) bool {
	return a.Deleted == b.Deleted && slices.EqualFunc(a.Values, b.Values, func(a, b vault.Field) bool {
		return a.Name == b.Name && a.Value.Equal(b.Value)
	})
}

// sameNotes compares what a version has beside its values.
func sameNotes(a, b vault.Secret) bool {
	return a.Note == b.Note && a.Rotate == b.Rotate && slices.Equal(a.Tags, b.Tags)
}

// change makes a version of a secret out of the one before.
func change(s vault.Secret, was uint64) vault.Change {
	c := vault.Change{Path: s.Path, Was: was, Note: &s.Note}
	if s.Deleted {
		c.Delete = true
		return c
	}
	c.Replace, c.Rotate, c.Tags = true, &s.Rotate, &s.Tags
	for _, f := range s.Values {
		c.Set = append(c.Set, vault.Field{Name: f.Name, Value: f.Value})
	}
	return c
}

// Stops are the items that keep a plan from being carried out: what is different or
// cannot be carried, where the options do not say what is to become of it.
func (p *Plan) Stops() (stops []Item) {
	for _, i := range p.Items {
		if i.State == Unfit && !p.o.Leave || i.State == Different && !p.o.Leave && !p.o.Replace {
			stops = append(stops, i)
		}
	}
	return stops
}

// Counts are how much a plan comes to.
type Counts struct {
	Secrets, Versions int // that are written
	Missing, Older    int // versions that the source does not keep, and the target would not
	FormerNotes       int // former versions with notes, rotation or tags of their own
	Rotations         int // secrets with a rotation that are written
	OtherHistories    int // secrets whose present values are the same, and nothing else
}

// Counts adds up what is known of the items.
func (p *Plan) Counts() (c Counts) {
	for _, i := range p.Items {
		c.Missing += i.Missing
		c.Older += i.Older
		if i.OtherHistory {
			c.OtherHistories++
		}
		if i.Write == 0 {
			continue
		}
		c.Secrets++
		c.Versions += i.Write
		last := i.write[i.Write-1]
		if last.Rotate != "" {
			c.Rotations++
		}
		for _, s := range i.write[:i.Write-1] {
			if !s.Deleted && !sameNotes(s, last) {
				c.FormerNotes++
			}
		}
	}
	return c
}

// maxBatch is how many bytes of values go into one write.
const maxBatch = 16 << 20

// Run writes what is to be written: the first version of every secret, then the
// second of those that have one, and so on. After each such round it calls after, if
// that is not nil; each, if not nil, is called with how many versions are written
// by then, one call at a time.
//
// KindConflict says that somebody else wrote at the target. Whatever stops it, a new
// plan goes on from there.
func (p *Plan) Run(ctx context.Context, to vault.Writer, each func(done int), after func(round int) error) error {
	if len(p.Stops()) > 0 {
		return &vault.Error{Kind: vault.KindConflict, Env: p.Env, Detail: "there are secrets of which it is not said what is to become of them"}
	}
	was := make([]uint64, len(p.Items))
	for n, i := range p.Items {
		was[n] = i.was
	}
	done := make(chan int, 1)
	done <- 0
	for round := 0; ; round++ {
		batches := p.round(round)
		if len(batches) == 0 {
			return nil
		}
		err := parallel.Do(ctx, len(batches), max(p.o.Width, 1), func(b int) error {
			var changes []vault.Change
			for _, n := range batches[b] {
				changes = append(changes, change(p.Items[n].write[round], was[n]))
			}
			infos, err := to.Apply(ctx, p.Env, changes)
			if err != nil {
				return err
			}
			for k, n := range batches[b] {
				was[n] = infos[k].Version
			}
			written := len(changes) + <-done
			if each != nil {
				each(written)
			}
			done <- written
			return nil
		})
		if err != nil {
			return err
		}
		if after != nil {
			if err := after(round); err != nil {
				return err
			}
		}
	}
}

// round are the items that have a version to write in a round, in batches.
func (p *Plan) round(round int) (batches [][]int) {
	bytes := 0
	for n, i := range p.Items {
		if round >= len(i.write) {
			continue
		}
		size := 0
		for _, f := range i.write[round].Values {
			size += f.Value.Len()
		}
		last := len(batches) - 1
		if last < 0 || len(batches[last]) >= max(p.o.Batch, 1) || bytes+size > maxBatch {
			batches, bytes, last = append(batches, nil), 0, last+1
		}
		batches[last] = append(batches[last], n)
		bytes += size
	}
	return batches
}

// Checked is what a comparison of both sides found.
type Checked struct {
	Secrets, Versions, Values int          // that were compared, and are the same
	Differ                    []vault.Path // that are not
}

// Check reads both sides again and compares every value of what was carried, and
// what was the same before; not what was left.
func (p *Plan) Check(ctx context.Context, from, to vault.Exporter) (Checked, error) {
	var sides [2]map[vault.Path][]vault.Secret
	for n, v := range []vault.Exporter{from, to} {
		kept, err := v.Export(ctx, p.Env, p.o.History)
		if err != nil {
			return Checked{}, err
		}
		sides[n] = make(map[vault.Path][]vault.Secret, len(kept))
		for _, k := range kept {
			sides[n][k.Path] = trim(k.Versions)
		}
	}
	var c Checked
	for _, i := range p.Items {
		if i.State == Unfit || i.State == Different && !p.o.Replace {
			continue
		}
		source, target := sides[0][i.Path], sides[1][i.Path]
		if i.State == Different {
			source, target = tail(source), tail(target)
		}
		same := p.o.same(source, target, i.OtherHistory)
		if !same {
			c.Differ = append(c.Differ, i.Path)
			continue
		}
		c.Secrets++
		c.Versions += len(target)
		for _, s := range target {
			c.Values += len(s.Values)
		}
	}
	sort.Slice(c.Differ, func(i, j int) bool { return c.Differ[i] < c.Differ[j] })
	return c, nil
}

// same compares what both sides keep of a secret: the last steps of the source are
// those of the target, and all that are to be there are.
func (o Options) same(source, target []vault.Secret, otherHistory bool) bool {
	if len(source) == 0 || len(target) == 0 || !sameNotes(tail(source)[0], tail(target)[0]) {
		return false
	}
	want, have := steps(source), steps(target)
	least := len(want)
	if n := len(source) - o.Keep; o.Keep > 0 && n > 0 {
		least = len(steps(trim(source[n:])))
	}
	if otherHistory {
		least = 1
	}
	for n := range have {
		if n == len(want) {
			return otherHistory // before it, the target has what the source has not
		}
		if !sameValues(want[len(want)-1-n][0], have[len(have)-1-n][0]) {
			return otherHistory && n > 0
		}
	}
	return len(have) >= least
}

// tail is the last version alone.
func tail(versions []vault.Secret) []vault.Secret { return versions[max(0, len(versions)-1):] }
