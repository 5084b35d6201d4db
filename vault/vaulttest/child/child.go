// Package child runs servers that are not ours for tests: each on the loopback
// address, in the background, and no longer than its test.
//
// It refuses to leave one behind: what it starts ends with the test, also when that
// panics or is killed.
package child

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A Process is a program that runs.
type Process struct {
	// Ended is closed when it has.
	Ended <-chan struct{}
	life  io.Closer
}

// Stop ends it and waits until it has.
func (p *Process) Stop() {
	p.life.Close()
	<-p.Ended
}

// guard runs a program until the pipe that is the shell's input ends, as it does
// with whoever holds its other end.
const guard = `exec 3<&0; "$@" 3<&- & child=$!; { read -r _ <&3; kill "$child"; } >/dev/null 2>&1 & wait "$child"`

// Start starts a program in a folder. It sees nothing of the environment but PATH,
// and dir as its home; what it says is in the log of a test that failed.
func Start(t testing.TB, dir, program string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", guard, "sh", program}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(program)
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p := &Process{ended, life}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
	return p
}

// Address is one on the loopback address that nobody listens on: "127.0.0.1:12345".
// Between that and its use another program may take it.
func Address(t testing.TB) string {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	return port.Addr().String()
}
