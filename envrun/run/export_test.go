package run

var (
	LookWindows = lookWindows
	BatchLine   = batchLine
	ShellLine   = shellLine
)
