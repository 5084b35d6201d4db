package tui_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

func TestMain(m *testing.M) {
	if os.Getenv("TUI_TEST_PROGRAM") != "" {
		os.Exit(program())
	}
	os.Exit(m.Run())
}

// canary is the value that program shows, in two lines on a screen.
const canary = "FAKE-7b1e90c2d45fa83671ee0c9b24d8f3a56017ce98FAKE"

// fixed is a vault with one secret, that makes a mistake when it is read for the
// second time: TUI_TEST_PANIC says where, in the "command" that reads, or in the
// "Update" or "View" that follow.
type fixed struct {
	vault.Vault
	reads *atomic.Int32
}

// again reports whether it has been read twice, and there is a mistake to be made.
func (f fixed) again(where string) bool {
	return f.reads.Load() > 1 && os.Getenv("TUI_TEST_PANIC") == where
}

// now is the clock, which the model asks all the time.
func (f fixed) now() time.Time {
	for _, where := range []string{"Update", "View"} {
		if f.again(where) && within("envrun/tui.(*Model)."+where) {
			panic(canary)
		}
	}
	return time.Now()
}

// within reports whether a function of this name has called us, however far above.
func within(name string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if f.Function == name {
			return true
		}
		if !more {
			return false
		}
	}
}

func (f fixed) secret() vault.Secret {
	return vault.Secret{
		Info: vault.Info{Env: "dev", Path: "billing/stripe", Version: 3, By: "bob@laptop", At: tuitest.Start,
			Fields: []vault.FieldInfo{{Name: "STRIPE_KEY", Since: 3}, {Name: "WIDE_日本語", Since: 1}}},
		Values: []vault.Field{{Name: "STRIPE_KEY", Since: 3, Value: vault.NewValueString(canary)}},
	}
}

func (f fixed) List(context.Context, vault.Env, vault.Path) iter.Seq2[vault.Info, error] {
	if f.reads.Add(1); f.again("command") {
		panic(canary)
	}
	return func(yield func(vault.Info, error) bool) { yield(f.secret().Info, nil) }
}

func (f fixed) Get(context.Context, vault.Env, vault.Path) (vault.Secret, error) {
	return f.secret(), nil
}

// program is what runs in a terminal of its own: the interface, and what cmd
// does around it.
func program() int {
	if file := os.Getenv("TUI_TEST_PID"); file != "" {
		if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return 1
		}
	}
	v := fixed{reads: new(atomic.Int32)}
	end, err := tui.Run(context.Background(), tui.Config{
		Project: "acme/payments", Who: "alice@laptop", Show: time.Minute,
		Envs: []screen.Env{{Name: "dev"}, {Name: "prod", Protected: true}},
		Open: func(context.Context, vault.Env) (vault.Vault, error) { return v, nil }, Now: v.now,
	}, tui.Terminal{In: os.Stdin, Out: os.Stdout, Environ: os.Environ()})
	switch {
	case err != nil:
		fmt.Println("ENDED with an error:", err)
		return 2
	case end.Crash != nil:
		fmt.Println("ENDED by a crash:", end.Crash.Error())
		if strings.Contains(end.Crash.Stack, "FAKE") || !strings.Contains(end.Crash.Stack, "main_test.go") {
			fmt.Println("with a wrong stack", end.Crash.Stack)
		}
		return 70
	case end.Signal != nil:
		fmt.Println("ENDED by", end.Signal)
		return 3
	}
	fmt.Println("ENDED by the person")
	return 0
}
