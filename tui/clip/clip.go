package clip

import "time"

// Copied says what became of a value that was to be copied.
type Copied struct {
	Text  string    // for the status line
	Sure  bool      // it was read back, and will be cleared
	Until time.Time // when it goes; zero: nobody can say
}
