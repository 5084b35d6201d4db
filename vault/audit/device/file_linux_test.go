package device_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/audit/device"
)

func TestNoSpaceLeft(t *testing.T) {
	s := open(t, device.Config{Name: "main", Required: true, Deadline: patient, File: &device.File{Path: "/dev/full"}})
	err := s.Write(t.Context(), line(1))
	if vault.KindOf(err) != vault.KindFull || !strings.Contains(err.Error(), "audit device main: write full: no space left on device") {
		t.Errorf("%v", err)
	}
	if h := s.Health()[0]; !strings.Contains(h.Problem, "no space left") || h.Refused != 1 {
		t.Errorf("%+v", h)
	}
}

// On a disk that is full the reserve is given up, and entries go on for a while;
// then the device refuses, with no part of a line behind, until there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a file system of its own cannot be mounted: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "audit.log")
	s := open(t, device.Config{Name: "main", Required: true, Deadline: patient, File: &device.File{Path: path, Reserve: 64 << 10}})
	write(t, s, line(0))
	if h := s.Health()[0]; h.Low || s.Full() != nil {
		t.Errorf("%+v", h)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	batch := func(from int) []audit.Line {
		var lines []audit.Line
		for n := range 3 {
			lines = append(lines, line(from+n))
		}
		return lines
	}
	var err error
	taken, low := 1, 0
	for n := 1; n < 10_000; n += 3 {
		if err = s.Write(t.Context(), batch(n)...); err != nil {
			break
		}
		taken += 3
		if s.Health()[0].Low {
			low++
			if full := s.Full(); vault.KindOf(full) != vault.KindFull || !strings.Contains(full.Error(), "audit device main: its disk is full") {
				t.Fatalf("%v", full)
			}
		}
	}
	if vault.KindOf(err) != vault.KindFull || !strings.Contains(err.Error(), "no space left on device") {
		t.Fatalf("%v", err)
	}
	if low < 10 { // 64 KiB are more than that
		t.Errorf("%d writes out of the reserve", low)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if whole := bytes.Count(raw, []byte("\n")); whole < taken || whole > taken+3 || !bytes.HasSuffix(raw, []byte("}\n")) {
		t.Errorf("%d lines, %d were taken; the end is %q", whole, taken, raw[max(0, len(raw)-40):])
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	write(t, s, line(9999))
	raw, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		if _, err := audit.Parse([]byte(l)); err != nil {
			t.Errorf("line %d: %v", i+1, err)
		}
	}
	if h := s.Health()[0]; h.Problem != "" {
		t.Errorf("%+v", h)
	}
	s.Reopen() // what a signal asks for; else it is tried once a minute
	write(t, s, line(10_000))
	if h := s.Health()[0]; h.Low || s.Full() != nil {
		t.Errorf("with room again: %+v", h)
	}
	if fi, err := os.Stat(path + ".reserve"); err != nil || fi.Size() != 64<<10 {
		t.Errorf("the reserve: %v, %v", fi, err)
	}
}
