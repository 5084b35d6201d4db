package clip

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	hangup     = syscall.SIGTERM
	brokenPipe = syscall.SIGPIPE
)

func rootDir() string { return os.Getenv("SystemRoot") }

// detach: the helper has no console, and so is not told when ours is closed.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
}

// passTerminal: Windows' clipboard needs no terminal.
func passTerminal(*exec.Cmd, *os.File) {}

func inheritedTerminal() *os.File { return nil }

var (
	user32                  = windows.NewLazySystemDLL("user32.dll")
	kernel32                = windows.NewLazySystemDLL("kernel32.dll")
	openClipboard           = user32.NewProc("OpenClipboard")
	closeClipboard          = user32.NewProc("CloseClipboard")
	emptyClipboard          = user32.NewProc("EmptyClipboard")
	getClipboardData        = user32.NewProc("GetClipboardData")
	setClipboardData        = user32.NewProc("SetClipboardData")
	registerClipboardFormat = user32.NewProc("RegisterClipboardFormatW")
	globalAlloc             = kernel32.NewProc("GlobalAlloc")
	globalFree              = kernel32.NewProc("GlobalFree")
	globalLock              = kernel32.NewProc("GlobalLock")
	globalUnlock            = kernel32.NewProc("GlobalUnlock")
	globalSize              = kernel32.NewProc("GlobalSize")
	excludeFormats          = [...]string{"ExcludeClipboardContentFromMonitorProcessing", "CanIncludeInClipboardHistory", "CanUploadToCloudClipboard"}
)

const (
	cfUnicodeText = 13
	gmemMoveable  = 2
)

func openWin32() (*backend, error) {
	return &backend{
		set: func(value []byte) error {
			units, err := utf16Units(value)
			if err != nil {
				return err
			}
			defer clear(units)
			return withClipboard(func() error {
				if r, _, err := emptyClipboard.Call(); r == 0 {
					return fmt.Errorf("emptying the clipboard: %w", err)
				}
				// Before the text: a manager that looks at once must find them.
				for _, name := range excludeFormats {
					p, err := windows.UTF16PtrFromString(name)
					if err != nil {
						return err
					}
					if format, _, _ := registerClipboardFormat.Call(uintptr(unsafe.Pointer(p))); format != 0 {
						if err := setData(format, []uint16{0, 0}); err != nil {
							return err
						}
					}
				}
				return setData(cfUnicodeText, append(units, 0))
			})
		},
		get: func() (value []byte, err error) {
			err = withClipboard(func() error {
				h, _, _ := getClipboardData.Call(cfUnicodeText)
				if h == 0 {
					return nil // something else, or nothing
				}
				size, _, _ := globalSize.Call(h)
				p, _, err := globalLock.Call(h)
				if p == 0 {
					return fmt.Errorf("reading the clipboard: %w", err)
				}
				defer globalUnlock.Call(h)
				units := unsafe.Slice((*uint16)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), size/2)
				for i, u := range units {
					if u == 0 {
						units = units[:i]
						break
					}
				}
				value = []byte(string(utf16.Decode(units)))
				return nil
			})
			return value, err
		},
		clear: func() error {
			return withClipboard(func() error {
				if r, _, err := emptyClipboard.Call(); r == 0 {
					return fmt.Errorf("emptying the clipboard: %w", err)
				}
				return nil
			})
		},
		hinted: true, via: "Windows",
	}, nil
}

// withClipboard opens the clipboard, which one program at a time may have open.
func withClipboard(f func() error) error {
	for range 50 {
		if r, _, _ := openClipboard.Call(0); r != 0 {
			defer closeClipboard.Call()
			return f()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("another program keeps the clipboard open")
}

// setData hands memory over to the clipboard, which owns it then.
func setData(format uintptr, units []uint16) error {
	h, _, err := globalAlloc.Call(gmemMoveable, uintptr(2*len(units)))
	if h == 0 {
		return fmt.Errorf("making room for the clipboard: %w", err)
	}
	p, _, err := globalLock.Call(h)
	if p == 0 {
		globalFree.Call(h)
		return fmt.Errorf("making room for the clipboard: %w", err)
	}
	copy(unsafe.Slice((*uint16)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), len(units)), units)
	globalUnlock.Call(h)
	if r, _, err := setClipboardData.Call(format, h); r == 0 {
		globalFree.Call(h)
		return fmt.Errorf("setting the clipboard: %w", err)
	}
	return nil
}
