package run_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func probe() {}

func testMain(m *testing.M) int { return m.Run() }

// wrapped makes a command that the wrapper runs.
func wrapped(t *testing.T, o options, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testBinary(t), argv...)
	cmd.Env = environment(wrapperEnv(t, o)...)
	return cmd
}

// Every exit code comes through, all 32 bits of it, and an argument is an argument.
func TestWindowsStatus(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"0": 0, "1": 1, "7": 7, "255": 255, "256": 256, "-1073741510": 0xC000013A} {
		err := wrapped(t, options{}, "cmd", "/c", "exit "+text).Run()
		var exit *exec.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if uint32(got) != uint32(want) {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestWindowsMasked(t *testing.T) {
	t.Parallel()
	out, err := wrapped(t, options{Mask: "always", Set: map[string]string{"TOKEN": "hunter2-hunter2"}}, "cmd", "/c", "echo %TOKEN%").Output()
	if err != nil || string(out) != "[TOKEN]\r\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestWindowsBatch(t *testing.T) {
	t.Parallel()
	file := writeFile(t, t.TempDir(), "say.cmd", "@echo off\r\necho [%~1] [%~2]\r\n", 0o755)
	out, err := wrapped(t, options{}, strings.TrimSuffix(file, ".cmd"), "a b", "c&echo d").Output()
	if err != nil || string(out) != "[a b] [c&echo d]\r\n" {
		t.Errorf("%q, %v", out, err)
	}
	out, err = wrapped(t, options{}, file, "%PATH%").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 126 || len(out) > 0 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestWindowsFiles(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	o := options{Files: map[string]string{"KEY_FILE": "the key"}, RuntimeDir: base, RuntimeDirAny: true}
	out, err := wrapped(t, o, "cmd", "/c", "type %KEY_FILE%").Output()
	if err != nil || string(out) != "the key" {
		t.Errorf("%q, %v", out, err)
	}
	eventually(t, "the files to be removed", func() bool {
		left, err := os.ReadDir(base)
		return err == nil && len(left) == 0
	})
}
