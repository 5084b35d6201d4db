//go:build !windows

package clip

import "errors"

var errNotWindows = errors.New("this is not Windows")
