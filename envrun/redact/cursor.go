package redact

// A cursor is how far a stream was masked. Its fields are offsets into the
// bytes at hand.
type cursor struct {
	pos     int // what starts before it is settled
	emitted int // what lies before it was put out, in clear or masked
	covered int // end of the last run: what starts before it belongs to the run
	last    int // secret whose token was put out last, or -1
}

func newCursor() cursor { return cursor{last: -1} }

// output collects what a cursor puts out: dst, then rest, a part of the text
// that is copied only when something follows it.
type output struct {
	tokens []string
	dst    []byte
	rest   []byte
}

// advance masks b as far as it can be known: up to the first place that may
// yet start a pattern. With final there is no such place.
func (c *cursor) advance(x *index, b []byte, final bool, o *output) {
	for c.pos < len(b) {
		if c.pos < c.covered {
			if !c.extend(x, b, final) {
				return
			}
			continue
		}
		h := x.find(b, c.pos, final)
		c.clear(b, h.at, o)
		c.pos = h.at
		if h.live || h.at == h.end {
			return
		}
		c.mask(h, o)
		c.pos++
	}
}

// clear puts out b up to to as it is.
func (c *cursor) clear(b []byte, to int, o *output) {
	if to <= c.emitted {
		return
	}
	o.dst = append(o.dst, o.rest...)
	o.rest = b[c.emitted:to]
	c.emitted = to
}

// mask starts a run at h, which is not in the last one.
func (c *cursor) mask(h hit, o *output) {
	if h.end <= c.emitted {
		return
	}
	if touches := h.at == c.covered && c.last >= 0; !touches || o.tokens[c.last] != o.tokens[h.secret] {
		o.dst = append(o.dst, o.rest...)
		o.rest = nil
		o.dst = append(o.dst, o.tokens[h.secret]...)
	}
	c.last = int(h.secret)
	c.covered, c.emitted = h.end, h.end
}

// extend grows the run over the patterns that start in it, and moves to its
// end, or to the first place that may yet start one: then it returns false.
//
// It goes from the end of the run to its start, since a late place reaches
// farther: in text like aaaa… most places are then passed without a compare.
func (c *cursor) extend(x *index, b []byte, final bool) bool {
	for c.pos < c.covered {
		live := -1
		end := c.covered
		for p := end - 1; p >= c.pos; p-- {
			h := x.at(b, p, c.covered, final)
			c.covered = max(c.covered, h.end)
			if h.live {
				live = p
			}
		}
		c.emitted = max(c.emitted, c.covered)
		if live >= 0 {
			c.pos = live
			return false
		}
		c.pos = end
	}
	return true
}

// rebase makes the offsets relative to pos: the caller drops what is before it.
func (c *cursor) rebase() {
	c.emitted -= c.pos
	c.covered = max(c.covered-c.pos, -1)
	c.pos = 0
}
