package kit

import "time"

// Least that a picture needs; below it there is one line that says so.
const (
	MinWidth  = 40
	MinHeight = 10
)

// A Size is how much room there is, in the three layouts that screens have.
type Size uint8

// The sizes. TooSmall is below 40x10, Small up to 59 columns, Medium up to 89.
const (
	TooSmall Size = iota
	Small
	Medium
	Large
)

// SizeOf is the layout for so many columns and rows.
func SizeOf(w, h int) Size {
	switch {
	case w < MinWidth || h < MinHeight:
		return TooSmall
	case w < 60:
		return Small
	case w < 90:
		return Medium
	}
	return Large
}

// A Notice is one line that says what has happened. It stays until the next
// key, or, if it must not be missed, until somebody has looked at its details.
type Notice struct {
	Role    Role // OK, Warn, Danger; Normal
	Text    string
	Details string // for the sheet that "!" opens; wrapped
	Sticky  bool
}

// Times of something that is waited for.
const (
	BusyAfter = 150 * time.Millisecond // nothing moves before
	BusyStep  = 125 * time.Millisecond // between two pictures of the spinner
)

// Busy is something that is waited for, since when.
type Busy struct {
	Since time.Time
	What  string // "reading prod"
}

// Shown reports whether it has taken long enough to be mentioned.
func (b Busy) Shown(now time.Time) bool { return !b.Since.IsZero() && now.Sub(b.Since) >= BusyAfter }

// Spinner is the picture for now.
func (b Busy) Spinner(m Marks, now time.Time) string {
	return m.Spinner[int(now.Sub(b.Since)/BusyStep)%len(m.Spinner)]
}
