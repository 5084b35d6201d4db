//go:build !linux && !windows

package environ

// SystemLimits are the limits of this process's children. macOS has the
// smallest of the systems left, so that they are safe on the others.
func SystemLimits() Limits { return DarwinLimits() }
