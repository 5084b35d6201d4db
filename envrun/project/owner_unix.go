//go:build unix

package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"envrun/vault"
)

// checkOwner refuses a found file of another user: it would choose the vault.
func checkOwner(file string, info fs.FileInfo, t trust) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || t == named || st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return &Error{Kind: vault.KindInsecure, Pos: Pos{file, 0},
		Detail: fmt.Sprintf("belongs to another user (%d), who could choose where secrets are read from; it is used only when named by hand", st.Uid)}
}

// checkMode refuses a file that everybody may write, however it was come by.
func checkMode(file string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 == 0 {
		return nil
	}
	return &Error{Kind: vault.KindInsecure, Pos: Pos{file, 0},
		Detail: fmt.Sprintf("may be written by everybody (mode %04o)", info.Mode().Perm())}
}

// notDir reports whether a part of the path is not a directory.
func notDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
