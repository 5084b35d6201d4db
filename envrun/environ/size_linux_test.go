package environ_test

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"envrun/envrun/environ"
)

// The kernel is asked at both sides of each limit: nothing that CheckSize lets
// through may fail, and of what it refuses not more than its slack would work.
func TestLinuxKeepsItsLimits(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program called true")
	}
	start := func(env []string) error {
		cmd := exec.Command(path)
		cmd.Env = env
		return cmd.Run()
	}
	lim := environ.SystemLimits()
	argv := []string{path}

	one := []string{"A=" + strings.Repeat("x", lim.String-3)}
	if err := environ.CheckSize(argv, one, lim); err != nil {
		t.Fatal(err)
	}
	if err := start(one); err != nil {
		t.Errorf("a variable of %d bytes: %v", lim.String, err)
	}
	one[0] += "x"
	if environ.CheckSize(argv, one, lim) == nil {
		t.Error("a variable that is too big passes")
	}
	if err := start(one); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("a variable of %d bytes: %v, want E2BIG", lim.String+1, err)
	}

	full := func(total int) (env []string) {
		total -= len(path) + 1 + lim.Pointer
		for i := 0; total > 0; i++ {
			name := "V" + strconv.Itoa(i) + "="
			n := min(total, 100_000)
			env = append(env, name+strings.Repeat("x", max(0, n-len(name)-1-lim.Pointer)))
			total -= len(env[i]) + 1 + lim.Pointer
		}
		return env
	}
	env := full(lim.Total)
	for environ.CheckSize(argv, env, lim) != nil {
		env = env[:len(env)-1]
	}
	if err := start(env); err != nil {
		t.Errorf("an environment at the limit of %d bytes: %v", lim.Total, err)
	}
	env = full(lim.Total + 3*4096)
	if environ.CheckSize(argv, env, lim) == nil {
		t.Error("an environment that is too big passes")
	}
	if err := start(env); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("an environment over the limit of %d bytes: %v, want E2BIG", lim.Total, err)
	}
}
