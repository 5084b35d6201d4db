//go:build !windows

package run_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const secret = "hunter2-hunter2"

// maskModes mask streams that are no terminal, asked for or by themselves.
func maskModes() []mode {
	set := map[string]string{"TOKEN": secret}
	return []mode{
		{"always", &options{Mask: "always", Set: set}},
		{"sensitive", &options{Sensitive: true, Set: set}},
	}
}

func TestMaskedPipes(t *testing.T) {
	t.Parallel()
	each(t, maskModes(), func(t *testing.T, m mode) {
		cmd := m.command(t, "/bin/sh", "-c", `printf 'a %s b' "$TOKEN"; printf 'c %s d' "$TOKEN" >&2`)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if got := end(cmd.Run()); got != "exit 0" {
			t.Fatal(got)
		}
		if out.String() != "a [TOKEN] b" || errs.String() != "c [TOKEN] d" {
			t.Errorf("%q and %q", out.String(), errs.String())
		}
	})
}

// What needs no masking is not touched, and needs no supervisor: the program is the
// process itself.
func TestUnmasked(t *testing.T) {
	t.Parallel()
	set := map[string]string{"TOKEN": secret}
	for _, o := range []options{{Set: set}, {Set: set, Sensitive: true, Mask: "never"}} {
		cmd := mode{"", &o}.command(t, "/bin/sh", "-c", `echo "$TOKEN $$"`)
		out := output(t, cmd)
		if want := fmt.Sprintf("%s %d\n", secret, cmd.Process.Pid); out != want {
			t.Errorf("%q, want %q", out, want)
		}
	}
	// Nobody reads the null device.
	o := options{Set: set, Sensitive: true}
	pid := filepath.Join(t.TempDir(), "pid")
	cmd := mode{"", &o}.command(t, "/bin/sh", "-c", "echo $$ >"+pid)
	if got := end(cmd.Run()); got != "exit 0" {
		t.Fatal(got)
	}
	text, _ := os.ReadFile(pid)
	if strings.TrimSpace(string(text)) != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("the program is %s, the wrapper %d", text, cmd.Process.Pid)
	}
}

// Output without a value in it comes through byte for byte.
func TestMaskedBytes(t *testing.T) {
	t.Parallel()
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	file := writeFile(t, t.TempDir(), "random", string(random), 0o600)
	each(t, maskModes(), func(t *testing.T, m mode) {
		cmd := m.command(t, "/bin/cat", file)
		if got := sha256.Sum256([]byte(output(t, cmd))); got != sha256.Sum256(random) {
			t.Error("the bytes are not the same")
		}
	})
}

// Standard output and error that are one file stay in order.
func TestMaskedOrder(t *testing.T) {
	t.Parallel()
	each(t, maskModes(), func(t *testing.T, m mode) {
		cmd := m.command(t, "/bin/sh", "-c", `i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done`)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = w, w
		start(t, cmd)
		w.Close()
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := ended(t, cmd); got != "exit 0" {
			t.Fatal(got)
		}
		var want strings.Builder
		for i := range 500 {
			fmt.Fprintln(&want, i)
		}
		if string(out) != want.String() {
			t.Error("out of order")
		}
	})
}

// A program that writes to a pipe that nobody reads dies of PIPE, masked or not.
func TestMaskedReaderGone(t *testing.T) {
	t.Parallel()
	each(t, append(modes(), maskModes()...), func(t *testing.T, m mode) {
		for _, program := range []string{"while :; do echo y; done", "exec yes", "while :; do echo y; read x </dev/null; done"} {
			cmd := m.command(t, "/bin/sh", "-c", program)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			start(t, cmd)
			if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			out.Close()
			if got := ended(t, cmd); got != "signal SIGPIPE" {
				t.Errorf("%s: %s", program, got)
			}
		}
	})
}

// A reader that takes its time holds the program up, and gets everything.
func TestMaskedSlowReader(t *testing.T) {
	t.Parallel()
	m := maskModes()[0]
	done := filepath.Join(t.TempDir(), "done")
	const size = 1 << 20
	cmd := m.command(t, "/bin/sh", "-c", fmt.Sprintf("head -c %d /dev/zero; echo >%s", size, done))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	if _, err := io.ReadFull(out, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // long enough for a program that is not held up
	if _, err := os.Stat(done); err == nil {
		t.Error("a megabyte went somewhere without a reader")
	}
	rest, err := io.ReadAll(out)
	if err != nil || len(rest) != size-1000 {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if got := ended(t, cmd); got != "exit 0" {
		t.Error(got)
	}
}

// A program that has ended does not hang the wrapper: not when its reader does not
// read on and a signal asks us to end, nor when it has left somebody behind who
// holds the stream open.
func TestMaskedEnd(t *testing.T) {
	t.Parallel()
	m := maskModes()[0]
	t.Run("nobody reads", func(t *testing.T) {
		t.Parallel()
		done := filepath.Join(t.TempDir(), "done")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		// Fill the pipe before the program says anything.
		fd := int(w.Fd())
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = unix.Write(fd, make([]byte, 4096))
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
		cmd := noTTY(m.command(t, "/bin/sh", "-c", "echo more; echo >"+done+"; exit 3"))
		cmd.Stdout = w
		start(t, cmd)
		w.Close()
		eventually(t, "the program to end", func() bool { _, err := os.Stat(done); return err == nil })
		go func() { // the first may find the program there, the second is taken for what ended it
			for cmd.Process.Signal(unix.SIGTERM) == nil {
				time.Sleep(20 * time.Millisecond)
			}
		}()
		if got := ended(t, cmd); got != "exit 3" && got != "signal SIGTERM" {
			t.Error(got)
		}
	})
	t.Run("left behind", func(t *testing.T) {
		t.Parallel()
		cmd := m.command(t, "/bin/sh", "-c", `sleep 1000 & echo $!; printf %s "$TOKEN"; exit 3`)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs capture
		cmd.Stdout, cmd.Stderr = w, &errs
		start(t, cmd)
		w.Close()
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		pid, rest, _ := strings.Cut(string(out), "\n")
		if n, err := strconv.Atoi(pid); err == nil {
			_ = unix.Kill(n, unix.SIGKILL)
		}
		if rest != "[TOKEN]" {
			t.Errorf("said %q", rest)
		}
		if got := ended(t, cmd); got != "exit 3" {
			t.Error(got)
		}
		if !strings.Contains(errs.String(), "left behind") {
			t.Errorf("warned %q", errs.String())
		}
	})
}

// A signal that ends a masked program is its status, and what it said before is not
// lost.
func TestMaskedSignal(t *testing.T) {
	t.Parallel()
	cmd := noTTY(maskModes()[0].command(t, "/bin/sh", "-c", `printf 'almost hunter2-h'; kill -TERM $$`))
	var out capture
	cmd.Stdout = &out
	start(t, cmd)
	if got := ended(t, cmd); got != "signal SIGTERM" {
		t.Error(got)
	}
	if out.String() != "almost hunter2-h" {
		t.Errorf("%q", out.String())
	}
}

// A panic in what we call does not leave the program's files behind, or a terminal
// raw.
func TestPanic(t *testing.T) {
	t.Parallel()
	shm := t.TempDir()
	o := &options{PanicIn: "masker", Mask: "always", Files: map[string]string{"F": secret}, RuntimeDir: shm, RuntimeDirAny: true}
	cmd := mode{"", o}.command(t, "/bin/sh", "-c", "exit 3")
	var errs capture
	cmd.Stderr = &errs
	var out capture
	cmd.Stdout = &out
	if got := end(cmd.Run()); got != "exit 2" || !strings.Contains(errs.String(), "panic: masker") {
		t.Errorf("%s: %s", got, errs.String())
	}
	if strings.Contains(errs.String(), secret) {
		t.Error("the panic shows the value")
	}
	if left := list(t, shm); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
