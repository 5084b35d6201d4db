package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// runtimeDir is %LOCALAPPDATA%\Temp, or what the user has asked for. Windows has no
// place in memory.
func runtimeDir(c Command) (string, error) {
	if c.RuntimeDir != "" && c.RuntimeDirAny {
		return c.RuntimeDir, nil
	}
	local, err := windows.KnownFolderPath(windows.FOLDERID_LocalAppData, 0)
	if err != nil {
		return "", fmt.Errorf("finding the user's folder: %w", err)
	}
	return filepath.Join(local, "Temp"), nil
}

// makeDir makes a folder that only this user may look into, and what is made
// in it inherits that.
func makeDir(dir string) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;" + user.User.Sid.String() + ")")
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	if err := windows.CreateDirectory(name, sa); err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

// lockName is the file in a folder that the run holds open for nobody else.
const lockName = ".lock"

// lockDir locks a folder of ours. errTaken if another process has it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.DELETE, 0, nil, windows.OPEN_ALWAYS,
		windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND) || errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), path), nil
}

// removeLocked lets the lock go first, since Windows does not remove what is open.
func removeLocked(dir string, lock *os.File) error {
	lock.Close()
	return os.RemoveAll(dir)
}
