package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// whole sees to it that processes that this test starts may leave core files as large
// as they are, and says whether the kernel puts them where they ran.
func whole(t *testing.T) (here bool) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: was.Max, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &was) })
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	return err == nil && was.Max > 0 && strings.HasPrefix(string(pattern), "core")
}

// cores are the core files in a folder.
func cores(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "core*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// guarded checks that a process cannot be looked into by another one of its user, and
// that it leaves no core file when it is made to.
func (p *person) guarded(what string, pid int) {
	p.t.Helper()
	// What is not to be dumped belongs to root in /proc.
	info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		p.t.Errorf("%s: the environment is user %d's to read", what, owner)
	}
	out, err := p.command("cat", fmt.Sprintf("/proc/%d/environ", pid)).CombinedOutput()
	if err == nil {
		p.t.Errorf("%s: another process reads the environment: %d bytes", what, len(out))
	}
	if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
		p.t.Fatal(err)
	}
}

// Nothing of what signing in and reading hold in memory is left in a core file, and no
// other process of the user reads it: not its environment either, in which there may be
// a token. The command that is run is as any other.
func TestNoCore(t *testing.T) {
	o := newOffice(t, nil)
	o.nobody()
	here := whole(t)
	o.person = o.as("GOTRACEBACK=crash")

	// That a core file would be seen.
	seen := o.command("sh", "-c", "kill -ABRT $$")
	if err := seen.Run(); err == nil {
		t.Error("a shell lives on")
	}
	if left := cores(t, o.dir); here && len(left) == 0 {
		t.Error("no process leaves a core file here: nothing is tested")
	} else {
		for _, file := range left {
			os.Remove(file)
		}
	}
	if !here {
		t.Log("core files are not looked for: the kernel does not put them where a process ran")
	}

	for _, args := range [][]string{{"--flow", "paste"}, {"--flow", "device"}, {"--method", "token"}} {
		c := o.run(append([]string{"login", "--store", "passphrase"}, args...)...)
		c.expect(map[string]string{"paste": "paste all of it here", "device": "Only approve if", "token": "Token (not shown)"}[args[1]])
		o.guarded("login", c.cmd.Process.Pid)
		c.end()
	}
	c := o.as("VAULT_TOKEN="+o.root, "VAULT_ADDR="+o.addr).run("set", "B")
	c.expect("Value of B (not shown)")
	o.guarded("set", c.cmd.Process.Pid)
	c.end()
	server, err := daemon()
	if err != nil {
		t.Fatal(err)
	}
	s := o.terminal(server, "dev", "--listen", "127.0.0.1:0", "--json")
	s.expect("root_token")
	o.guarded("envrund", s.cmd.Process.Pid)
	s.end()
	if left := cores(t, o.dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}

	// The command is not guarded: what it is to do is its own affair.
	for _, how := range []string{"--exec", "--supervise"} {
		run := o.as("VAULT_TOKEN="+o.root, "VAULT_ADDR="+o.addr).envrun(how, "--", "sh", "-c", "stat -c %u /proc/$$/environ; ulimit -c")
		out, err := run.Output()
		if want := fmt.Sprintf("%d\n", max(o.uid, os.Getuid())); err != nil || !strings.HasPrefix(string(out), want) || here && strings.HasSuffix(string(out), "\n0\n") {
			t.Errorf("%s: %v %q", how, err, out)
		}
	}
}
