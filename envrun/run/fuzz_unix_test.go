//go:build !windows

package run_test

import (
	"bytes"
	"testing"

	"envrun/envrun/run"
)

// FuzzInterpreter reads the head of any file.
func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#! \t/usr/bin/env python3\r\n"))
	f.Add(elf("/lib64/ld-linux-x86-64.so.2"))
	f.Add([]byte("#!"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if got := run.Interpreter(head); !bytes.Contains(head, []byte(got)) {
			t.Errorf("%q", got)
		}
	})
}
