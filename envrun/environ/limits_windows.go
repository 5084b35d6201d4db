package environ

// SystemLimits are the limits of this process's children.
func SystemLimits() Limits { return WindowsLimits() }
