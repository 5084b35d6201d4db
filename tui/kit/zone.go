package kit

// A Zone is a part of a picture that the mouse can be used on: a line of a list,
// or something that stands for a key. What draws one says so while it draws it,
// so that there is nothing to keep in step.
type Zone struct {
	List *List // with Line, a line of it
	Line int
	Key  string // or the key that a click on it is
}

type zone struct {
	Zone
	x, y, w int
}

// Press makes the area stand for a key.
func (a Area) Press(key string) {
	for y := range a.H {
		a.zone(y, Zone{Key: key})
	}
}

func (a Area) zone(y int, z Zone) {
	a.f.zones = append(a.f.zones, zone{z, a.x, a.y + y, a.W})
}

// NoZones forgets what was drawn before: the mouse is for what comes over it.
func (f *Frame) NoZones() { f.zones = f.zones[:0] }

// ZoneAt is what the mouse is on.
func (f *Frame) ZoneAt(x, y int) (Zone, bool) {
	for i := len(f.zones) - 1; i >= 0; i-- {
		if z := f.zones[i]; y == z.y && x >= z.x && x < z.x+z.w {
			return z.Zone, true
		}
	}
	return Zone{}, false
}
