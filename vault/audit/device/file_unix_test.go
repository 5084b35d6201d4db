//go:build !windows

package device_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/audit/device"
)

// A named pipe that nobody reads is refused at once; one that is not read on
// is given up at the deadline.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, device.Config{Name: "pipe", Required: true, Deadline: 300 * time.Millisecond, File: &device.File{Path: path}})
	if err := s.Write(t.Context(), line(1)); vault.KindOf(err) != vault.KindUnavailable {
		t.Fatalf("nobody reads: %v", err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var many []audit.Line
	for n := range 250 {
		many = append(many, line(n))
	}
	for n := 0; err == nil && n < 100; n++ {
		err = s.Write(t.Context(), many...)
	}
	if vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device pipe: ") {
		t.Fatalf("nobody reads on: %v", err)
	}
	// Somebody does, and finds lines: the one that was cut is ended before the next.
	read := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		read <- b
	}()
	for end := time.Now().Add(patient); ; time.Sleep(10 * time.Millisecond) {
		if err = s.Write(t.Context(), line(7000)); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Reopen() // ends the reader
	select {
	case b := <-read:
		if !strings.HasSuffix(string(b), "\n"+line(7000).String()+"\n") {
			t.Errorf("%q", b[max(0, len(b)-1000):])
		}
	case <-time.After(patient):
		t.Error("the pipe was not closed")
	}
}
