package cli

import "golang.org/x/sys/unix"

// GuardMemory keeps what this process has in memory out of core files and away from
// other processes of this user: it is for the beginning, before the first secret.
// becomes says that the process may become a program that it runs; execve makes that
// one as any other.
func GuardMemory(becomes bool) { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
