//go:build unix && !linux

package cli

import "golang.org/x/sys/unix"

// GuardMemory keeps what this process has in memory out of core files: it is for the
// beginning, before the first secret. becomes says that the process may become a
// program that it runs, which is to find its limits as they were: then nothing is done.
func GuardMemory(becomes bool) {
	var limit unix.Rlimit
	if !becomes && unix.Getrlimit(unix.RLIMIT_CORE, &limit) == nil {
		limit.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
}
