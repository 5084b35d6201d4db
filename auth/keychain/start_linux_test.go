package keychain_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// slow is how long a program may take to reach main on a machine that is busy
// with other things. That it did not talk to anybody is proven apart from it.
const slow = 20 * time.Second

// A bus that accepts and stays silent, or none at all, must neither hold up the
// start of a program that links the keychains nor make it execute dbus-launch;
// and main must find its environment as it was given. 99designs/keyring as it was
// published does the one or the other before main (auth F1): so go.mod has a fork of
// it that lacks those two files and differs in nothing else.
func TestStart(t *testing.T) {
	start, bus := build(t, "start"), build(t, "bus")
	const names = "[secret-service kernel pass]\n"

	t.Run("silent bus", func(t *testing.T) {
		bus := listen(t)
		out, launched := execute(t, start, "DBUS_SESSION_BUS_ADDRESS="+bus.address)
		if want := bus.address + "\n" + names; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		if n := bus.connections(t); n != 0 || launched {
			t.Errorf("made %d connections, executed dbus-launch: %v", n, launched)
		}
	})
	t.Run("no bus", func(t *testing.T) {
		out, launched := execute(t, start)
		if want := "no address\n" + names; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		if launched {
			t.Error("executed dbus-launch")
		}
	})

	// What asks for a bus does both, so the traps above work.
	t.Run("control: silent bus", func(t *testing.T) {
		trap := listen(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cmd := exec.CommandContext(ctx, bus)
		cmd.Env = []string{"DBUS_SESSION_BUS_ADDRESS=" + trap.address}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for end := time.Now().Add(slow); n == 0 && time.Now().Before(end); {
			n = trap.connections(t)
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		_ = cmd.Wait()
		if n == 0 {
			t.Error("nobody connected")
		}
	})
	t.Run("control: no bus", func(t *testing.T) {
		if dirs, _ := filepath.Glob("/run/user/*/*bus*"); len(dirs) > 0 {
			t.Skip("there is a session bus in /run/user, which the library finds")
		}
		if _, launched := execute(t, bus); !launched {
			t.Error("dbus-launch was not executed")
		}
	})
}

// build builds one of the programs in testdata.
func build(t *testing.T, name string) string {
	t.Helper()
	// Read for the test cache, which would not see a change otherwise.
	if _, err := os.ReadFile(filepath.Join("testdata", name, "main.go")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", program, "./testdata/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return program
}

// silentBus accepts connections and never says anything.
type silentBus struct {
	address string

	socket string
	mu     sync.Mutex
	count  int
	fences int           // how many of count are our own
	fence  chan struct{} // one for each of our own
}

// listen starts a bus.
func listen(t *testing.T) *silentBus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &silentBus{socket: filepath.Join(dir, "bus"), fence: make(chan struct{})}
	b.address = "unix:path=" + b.socket
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.count++
			b.mu.Unlock()
			go func() {
				defer conn.Close()
				first := make([]byte, 1)
				for {
					if _, err := conn.Read(first); err != nil {
						return
					}
					if first[0] == 'F' { // D-Bus begins with NUL
						b.fence <- struct{}{}
						return
					}
				}
			}()
		}
	}()
	return b
}

// connections counts the connections that others have made so far. They are
// accepted in the order made, so all are counted once our own has been.
func (b *silentBus) connections(t *testing.T) int {
	t.Helper()
	conn, err := net.Dial("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("F")); err != nil {
		t.Fatal(err)
	}
	<-b.fence
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fences++
	return b.count - b.fences
}

// execute runs a program with that environment and a dbus-launch that leaves a mark.
func execute(t *testing.T, program string, env ...string) (out string, launched bool) {
	t.Helper()
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	script := "#!/bin/sh\n: >'" + mark + "'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "dbus-launch"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), slow)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(env, "PATH="+dir+":/usr/bin:/bin", "HOME="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	began := time.Now()
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v after %v: %s", err, time.Since(began), stderr.String())
	}
	t.Logf("%s: main reached and left after %v", filepath.Base(program), time.Since(began).Round(time.Millisecond))
	_, err = os.Stat(mark)
	return string(b), err == nil
}
