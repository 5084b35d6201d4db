//go:build unix

package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

// A value that is typed is never shown; what ends the question without an
// answer changes nothing and leaves the terminal as it was.
func TestTerminalSet(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	const question = "Value of KEY (not shown): "

	t.Run("typed", func(t *testing.T) {
		p := p.in(t)
		value := newCanary()
		s := p.run("set", "KEY")
		s.expectHidden(question)
		s.typed(value + "\n")
		s.wants(0, "dev app: KEY (version ", "!"+value)
		if got := p.must("", "get", "KEY"); got != value {
			t.Errorf("stored %q, typed %q", got, value)
		}
	})
	t.Run("several", func(t *testing.T) {
		p := p.in(t)
		s := p.run("set", "ONE", "GIVEN=3", "TWO")
		s.expectHidden("Value of ONE (not shown): ")
		s.typed("first-value\n")
		s.expectHidden("Value of TWO (not shown): ")
		s.typed("second-value\n")
		s.wants(0, "dev app: GIVEN, ONE, TWO (version ", "!first-value", "!second-value")
	})
	for name, keys := range map[string]string{"Ctrl-C": "half of it\x03", "Ctrl-C at once": "\x03", "Ctrl-D": "\x04"} {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			before := tree(t, p.dir)
			s := p.run("set", "KEY")
			s.expectHidden(question)
			s.typed(keys)
			s.wants(130, "!half of it", "!goroutine")
			if !same(before, tree(t, p.dir)) {
				t.Error("something was changed")
			}
		})
	}
	t.Run("killed politely", func(t *testing.T) {
		s := p.in(t).run("set", "KEY")
		s.expectHidden(question)
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s.wants(143)
	})
	t.Run("longer than a terminal takes", func(t *testing.T) {
		// A terminal that edits lines cuts them off at 4,096 bytes without a word.
		p := p.in(t)
		value := strings.Repeat("x", 6000)
		s := p.run("set", "KEY")
		s.expectHidden(question)
		s.typed(value + "\n")
		s.wants(0, "!xxx")
		if p.must("", "get", "KEY") != value {
			t.Error("it was not stored whole")
		}
	})
	t.Run("as long as a terminal takes", func(t *testing.T) {
		p := p.in(t)
		value := strings.Repeat("y", 4000)
		s := p.run("set", "KEY")
		s.expectHidden(question)
		s.typed(value + "\n")
		s.wants(0, "!yyy")
		if p.must("", "get", "KEY") != value {
			t.Error("it was not stored whole")
		}
	})
}

// The passphrase of an identity is asked for in the same way, by a run too.
func TestTerminalPassphrase(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("value", "set", "A")
	const passphrase = "a long passphrase"
	s := p.run("key", "protect")
	s.expectHidden("New passphrase for your identity (not shown): ")
	s.typed(passphrase + "\n")
	s.expectHidden("The same again: ")
	s.typed("another one\n")
	s.wants(1, "the two passphrases differ: nothing was changed", "!another one", "!"+passphrase)
	s = p.run("key", "protect")
	s.expectHidden("New passphrase for your identity (not shown): ")
	s.typed(passphrase + "\n")
	s.expectHidden("The same again: ")
	s.typed(passphrase + "\n")
	s.wants(0, "!"+passphrase)
	p.must("", "key", "lock")

	for _, args := range [][]string{{"get", "A"}, {"--", "sh", "-c", "echo $A"}} {
		for name, keys := range map[string]string{"Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
			t.Run(args[0]+" "+name, func(t *testing.T) {
				s := p.in(t).run(args...)
				s.expectHidden("Passphrase of ")
				s.typed(keys)
				s.wants(130, "!value")
			})
		}
		t.Run(args[0]+" wrong", func(t *testing.T) {
			s := p.in(t).run(args...)
			s.expectHidden("Passphrase of ")
			s.typed("wrong words\n")
			code := 1
			if args[0] == "--" {
				code = 125
			}
			s.wants(code, "E_AUTH", "!wrong words", "!value")
		})
		t.Run(args[0]+" right", func(t *testing.T) {
			s := p.in(t).run(args...)
			s.expectHidden("Passphrase of ")
			s.typed(passphrase + "\n")
			s.wants(0, "value", "!"+passphrase)
			p.must("", "key", "lock")
		})
	}
}

// The passphrase of an SSH key is asked for when it is imported.
func TestTerminalImportSSH(t *testing.T) {
	p := newPerson(t)
	const passphrase = "a long passphrase"
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "bob@laptop", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	p.write("id_ed25519", string(pem.EncodeToMemory(block)))
	const question = "Passphrase of id_ed25519 (not shown): "
	for name, keys := range map[string]string{"Ctrl-C": "\x03", "Ctrl-D": "\x04"} {
		t.Run(name, func(t *testing.T) {
			s := p.in(t).run("key", "import", "id_ed25519", "--store", "file")
			s.expectHidden(question)
			s.typed(keys)
			s.wants(130)
		})
	}
	s := p.run("key", "import", "id_ed25519", "--store", "file")
	s.expectHidden(question)
	s.typed("wrong words\n")
	s.wants(1, "the passphrase is wrong", "!wrong words")
	s = p.run("key", "import", "id_ed25519", "--store", "file")
	s.expectHidden(question)
	s.typed(passphrase + "\n")
	s.wants(0, "it is a copy: id_ed25519 stays as it is", "!"+passphrase)
	p.must("", "init", "--project", "app", "--env", "dev", "--no-recovery")
	p.must("value", "set", "A")
	if got := p.must("", "get", "A"); got != "value" {
		t.Errorf("got %q", got)
	}
}

// toyPerson is a person whose identity needs the plugin age-plugin-toy, with a secret.
func toyPerson(t *testing.T) *person {
	p := newPerson(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipient := plugin.EncodeRecipient("toy", []byte(key.Recipient().String()))
	p.must("# recipient: "+recipient+"\n"+plugin.EncodeIdentity("toy", []byte(key.String()))+"\n", "key", "import", "-", "--store", "file")
	p.must("", "init", "--project", "app", "--env", "dev", "--no-recovery")
	p.must("value", "set", "A")
	return p
}

// What a plugin asks is asked on the terminal, and a PIN is not shown.
func TestTerminalPlugin(t *testing.T) {
	p := toyPerson(t).as("TOY_DOES=ask")
	const pin = "314159"
	for _, args := range [][]string{{"get", "A"}, {"--", "sh", "-c", "echo $A"}} {
		t.Run(args[0], func(t *testing.T) {
			s := p.in(t).run(args...)
			s.expect(`age-plugin-toy: insert \u{1b}[2J envrun: the token`)
			s.expectHidden("age-plugin-toy: PIN of the token (not shown): ")
			s.typed(pin + "\n")
			s.expect("age-plugin-toy: its owner: ")
			s.typed("bob\n")
			s.expect("age-plugin-toy: use slot 1 (1: this one, 2: another) ")
			s.typed("1\n")
			s.expect("age-plugin-toy: touch it (Enter: done) ")
			s.typed("\n")
			s.wants(0, "value", "!"+pin, "!\x1b")
		})
	}
	t.Run("declined", func(t *testing.T) {
		s := p.in(t).run("get", "A")
		s.expectHidden("PIN of the token (not shown): ")
		s.typed(pin + "\n")
		s.expect("its owner: ")
		s.typed("bob\n")
		s.expect("use slot 1")
		s.typed("2\n")
		s.wants(1, "age-plugin-toy says: no slot", "!value")
	})
	t.Run("nonsense", func(t *testing.T) {
		s := p.in(t).run("get", "A")
		s.expectHidden("PIN of the token (not shown): ")
		s.typed(pin + "\n")
		s.expect("its owner: ")
		s.typed("bob\n")
		s.expect("use slot 1")
		s.typed("yes\n")
		s.wants(1, "the answer was neither 1 nor 2", "!value")
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		s := p.in(t).run("get", "A")
		s.expectHidden("PIN of the token (not shown): ")
		s.typed("\x03")
		s.wants(130, "interrupted", "!value")
	})
}

// Ctrl-C ends a plugin that hangs, even one that does not listen to it.
func TestTerminalPluginHangs(t *testing.T) {
	p := toyPerson(t)
	file := filepath.Join(p.tmp, "pid")
	s := p.as("TOY_DOES=hang", "TOY_PID="+file).run("get", "A")
	var pid int
	for deadline := time.Now().Add(patience); pid == 0; time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(text))
		if time.Now().After(deadline) {
			t.Fatal("the plugin is not started")
		}
	}
	s.typed("\x03")
	s.wants(130, "!value")
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the plugin is still there")
	}
}

// Of several pasted lines none is shown and none is left for the shell to run;
// they are stored whole or refused, never cut off without a word.
func TestTerminalSetPastedLines(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	value := newCanary()
	p.must("before", "set", "KEY")
	s := p.terminal("sh", "-c", `"$1" set KEY; echo "ended with $?"; IFS= read -r rest; echo "the shell got [$rest]"`, "sh", p.program)
	s.expectHidden("Value of KEY (not shown): ")
	s.typed(value + "-1\n" + value + "-2\n" + value + "-3\n")
	s.expect("ended with ")
	s.typed("nothing\n")
	s.wants(0, "the shell got [nothing]", "!"+value)
	if got := p.must("", "get", "KEY"); got != "before" && !strings.HasPrefix(got, value+"-1\n"+value+"-2\n"+value+"-3") {
		t.Errorf("of three lines %q was stored", got)
	}
}

// The echo is off before the question is shown, or the first keys of a quick
// typist are on the screen.
func TestTerminalEchoIsOffBeforeTheQuestion(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	for range 10 {
		s := p.run("set", "KEY")
		s.expect("Value of KEY (not shown): ")
		early := !s.hidden()
		s.expectHidden("")
		s.typed("\x03")
		s.wait()
		if early {
			t.Fatal("the question was shown while the terminal still echoed")
		}
	}
}

// A protected environment runs when its name is typed, and only then.
func TestTerminalProtected(t *testing.T) {
	p := newPerson(t)
	p.setup("dev,prod")
	p.must("", "set", "-e", "prod", "--yes=prod", "A=1")
	const question = "prod is protected. Type its name to go on: "
	const ran = "the command ran with 1"
	for name, test := range map[string]struct {
		keys string
		code int
		says string
	}{
		"right":   {"prod\n", 0, ran},
		"wrong":   {"dev\n", 125, "prod is protected, and its name was not typed: nothing was run"},
		"yes":     {"yes\n", 125, "hint: type prod, or add --yes=prod"},
		"nothing": {"\n", 125, "E_POLICY"},
		"Ctrl-D":  {"\x04", 130, "interrupted"},
		"Ctrl-C":  {"\x03", 130, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := p.in(t).run("-e", "prod", "--", "sh", "-c", `echo "the command ran with $A"`)
			s.expect(question)
			s.typed(test.keys)
			words := []string{test.says}
			if test.code != 0 {
				words = append(words, "!"+ran)
			}
			s.wants(test.code, words...)
		})
	}
	for _, args := range [][]string{{"set", "-e", "prod", "A=2"}, {"rm", "-e", "prod", "A"}, {"get", "-e", "prod", "A"}, {"env", "rm", "prod"}, {"copy", "dev:", "prod:"}, {"export", "-e", "prod", "--format", "json"}} {
		t.Run(args[0], func(t *testing.T) {
			p := p.in(t)
			if args[0] == "copy" {
				p.must("", "set", "A=other")
			}
			before := tree(t, filepath.Join(p.dir, ".envrun"))
			s := p.run(args...)
			s.expect(question)
			s.typed("no\n")
			s.wants(1, "E_POLICY")
			if !same(before, tree(t, filepath.Join(p.dir, ".envrun"))) {
				t.Error("something was changed")
			}
		})
	}
}

// The banner of a protected environment is for a person: in colour, in words
// where colour is not wanted, and not at all in a pipe.
func TestTerminalColours(t *testing.T) {
	p := newPerson(t)
	p.setup("dev,prod")
	p.must("", "set", "-e", "prod", "--yes=prod", "A=1")
	run := []string{"-e", "prod", "--yes=prod", "--", "true"}
	p.run(run...).wants(0, "\x1b[", "envrun: prod")
	p.as("NO_COLOR=1").run(run...).wants(0, "!\x1b", "prod")
	if _, errs, code := p.pipe("", run...); code != 0 || errs != "" {
		t.Errorf("in a pipe: status %d: %q", code, errs)
	}
	p.run("-e", "dev", "--", "true").wants(125, "!\x1b") // nothing to inject, and no colour in an error
	for _, args := range [][]string{{"list", "-e", "prod", "--long"}, {"explain", "-e", "prod"}, {"vault", "status"}, {"doctor"}, {"help"}, {"env", "list"}} {
		shown, _ := p.run(args...).wait()
		if strings.Contains(shown, "\x1b") {
			t.Errorf("%q colours: %q", args, shown)
		}
	}
}

// get adds a newline where a prompt follows, and nothing in a pipe.
func TestTerminalGet(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("value", "set", "A")
	p.must("value\n", "set", "B")
	for name, want := range map[string]string{"A": "value", "B": "value\n"} {
		if got := p.must("", "get", name); got != want {
			t.Errorf("get %s in a pipe: %q, want %q", name, got, want)
		}
		if got, code := p.run("get", name).wait(); got != "value\n" || code != 0 {
			t.Errorf("get %s on a terminal: %q, status %d", name, got, code)
		}
	}
}

// The recovery identity is shown once, opens the vault, and is written nowhere.
func TestTerminalInit(t *testing.T) {
	p := newPerson(t)
	shown := p.run("init", "--project", "app", "--store", "file").wants(0, "This is the recovery identity", "made the vault")
	var secret string
	for line := range strings.Lines(shown) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			secret = strings.TrimSpace(line)
		}
	}
	if secret == "" || strings.Count(shown, "AGE-SECRET-KEY-") != 1 {
		t.Fatalf("the recovery identity is not shown once:\n%s", shown)
	}
	nowhere(t, secret, p.home, p.dir, p.tmp)
	p.must("value", "set", "A")
	other := p.as("ENVRUN_CONFIG_DIR="+filepath.Join(p.home, "other"), "ENVRUN_STATE_DIR="+filepath.Join(p.home, "other"), "ENVRUN_KEY="+secret)
	if got := other.must("", "get", "A"); got != "value" {
		t.Errorf("the recovery identity reads %q", got)
	}

	// With nobody to read it, it goes to a file, and not to the terminal.
	q := newPerson(t)
	q.run("init", "--project", "app", "--store", "file", "--no-input").wants(0, "wrote the recovery identity to ", "!AGE-SECRET-KEY-")
}

// import, rm and .gitignore ask before they do what nobody named.
func TestTerminalConfirms(t *testing.T) {
	p := newPerson(t)
	p.git("init", "-q")
	p.setup("dev")
	p.must("", "set", "A=old", "B=1")
	p.write(".env", "A=new-value\nC=3\n")
	const replace = "dev app has other values for A. Replace them? [y/N] "
	const ignore = "Add .env to .gitignore? [y/N] "

	for _, no := range []string{"n\n", "\n", "what?\n"} {
		s := p.run("import", ".env")
		s.expect("replaced  A")
		s.expect(replace)
		s.typed(no)
		s.wants(1, "nothing was changed", "!new-value", "!"+ignore)
		if got := p.must("", "get", "A"); got != "old" {
			t.Errorf("after %q A is %q", no, got)
		}
	}
	s := p.run("import", ".env")
	s.expect(replace)
	s.typed("y\n")
	s.expect(ignore)
	s.typed("n\n")
	s.wants(0, "imported into dev app", "!added /.env", "!new-value")
	if got := p.must("", "get", "A"); got != "new-value" {
		t.Errorf("after yes A is %q", got)
	}
	s = p.run("import", ".env")
	s.expect(ignore)
	s.typed("yes\n")
	s.wants(0, "has all of it already", "added /.env to ")
	p.git("check-ignore", "-q", ".env")
	p.run("import", ".env").wants(0, "!Add .env")

	s = p.run("rm", "B", "C")
	s.expect("Remove B, C from dev? [y/N] ")
	s.typed("n\n")
	s.wants(1, "nothing was changed")
	p.must("", "get", "B")
	s = p.run("rm", "B", "C")
	s.expect("Remove B, C from dev? [y/N] ")
	s.typed("y\n")
	s.wants(0, "removed B, C")
	p.run("rm", "A", "--yes").wants(0, "deleted", "![y/N]")
}

// The first time a machine opens an environment its key is shown and asked
// about; no is not remembered, yes is.
func TestTerminalFirstContact(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("value", "set", "A")
	var status []struct {
		Envs []struct{ Fingerprint string }
	}
	if err := json.Unmarshal([]byte(p.must("", "vault", "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	fingerprint := status[0].Envs[0].Fingerprint
	if len(fingerprint) < 16 {
		t.Fatalf("fingerprint %q", fingerprint)
	}
	q := p.as("ENVRUN_STATE_DIR=" + filepath.Join(p.home, "other-machine"))
	const question = "Is it right? [y/N] "
	for range 2 {
		s := q.run("get", "A")
		s.expect(fingerprint)
		s.expect(question)
		s.typed("n\n")
		s.wants(1, "the key of dev was not accepted", "E_AUTH", "hint: ", "!value")
	}
	s := q.run("--", "sh", "-c", "echo got $A")
	s.expect(question)
	s.typed("y\n")
	s.wants(0, fingerprint, "got value")
	q.run("get", "A").wants(0, "!"+question, "value")
}

// envrun alone says in a few lines what there is, and that this was no command.
func TestTerminalAlone(t *testing.T) {
	p := newPerson(t) // without a project: with one it is the interface
	shown := p.run().wants(2, "Usage:", "envrun -- npm start", "All commands: envrun help")
	if n := strings.Count(shown, "\n"); n > 24 {
		t.Errorf("%d lines are not short help", n)
	}
}

// Where nobody may be asked, a terminal makes no difference: nothing waits, and
// what is needed is said.
func TestTerminalAsksNothing(t *testing.T) {
	p := newPerson(t)
	p.git("init", "-q")
	p.setup("dev,prod")
	p.must("", "set", "A=old")
	p.must("", "set", "-e", "prod", "--yes=prod", "A=1")
	p.write(".env", "A=new\n")
	p.write("same.env", "A=old\n")
	for name, how := range map[string]struct {
		variable string
		flags    []string
	}{
		"CI":         {"CI=1", nil},
		"agent":      {"CLAUDECODE=1", nil},
		"--no-input": {"NONE=", []string{"--no-input"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.in(t).as(how.variable)
			for _, test := range []struct {
				code int
				says string
				args []string
			}{
				{1, "envrun set B < FILE", []string{"set", "B"}},
				{1, "--yes", []string{"import", ".env"}},
				{0, "--gitignore", []string{"import", "same.env", "--format", "dotenv"}},
				{125, "--yes=prod", []string{"run", "-e", "prod", "--", "sh", "-c", "echo the command ran"}},
				{1, "envrun set", []string{"edit"}},
				{1, "ENVRUN_PASSPHRASE_FILE", []string{"key", "protect"}},
				{1, "--yes", []string{"key", "move", "kernel"}},
				{1, "--yes=prod", []string{"env", "rm", "prod"}},
				{0, "first contact with dev", []string{"get", "A"}},
			} {
				r := q
				if test.says == "first contact with dev" {
					r = q.as("ENVRUN_STATE_DIR=" + t.TempDir())
				}
				s := r.run(append(append([]string{}, how.flags...), test.args...)...)
				s.wants(test.code, test.says, "![y/N] ", "!(not shown): ", "!Type its name", "!the command ran")
			}
		})
	}
}

// The editors that people have leave nothing behind, whatever their own
// settings say: no swap, undo, backup, history or emergency file.
func TestTerminalEdit(t *testing.T) {
	type editor struct {
		command  string
		settings map[string]string
		edit     func(s *terminal, value string)
		quit     func(s *terminal)
	}
	editors := map[string]editor{
		"vim": {
			command: "vim",
			settings: map[string]string{
				// Nobody answers here where the cursor is, or which terminal this is, and
				// vim, once in a thousand starts, waits for that before it draws: it then
				// neither shows the text nor ends when it is told to.
				".vimrc":        "set t_u7= t_RV= nocompatible undofile undodir=~/.undo backup writebackup backupdir=~/.bak swapfile directory=~/.swp updatecount=1 viminfo='100,<1000 viminfofile=~/.viminfo\n",
				".undo/.keep":   "",
				".bak/.keep":    "",
				".swp/.keep":    "",
				".vim/.keep":    "",
				".exrc":         "",
				".viminfo-keep": "",
			},
			edit: func(s *terminal, value string) {
				s.typed(":%s/" + value + "/" + value + "-changed/\r")
				s.expect("-changed")
				s.typed("yyp:s/A=/B=/\r:w\r") // a register full of it, and a write before the last
				s.expect("written")
			},
			quit: func(s *terminal) { s.typed(":wq\r") },
		},
		"nano": {
			command: "nano",
			settings: map[string]string{
				".nanorc":                       "set backup\nset backupdir \"~/.bak\"\nset historylog\nset positionlog\nset locking\n",
				".bak/.keep":                    "",
				".local/share/nano/.keep":       "",
				".config/nano/.keep-the-folder": "",
			},
			edit: func(s *terminal, value string) {
				s.typed("\x1b/") // to the end
				s.typed("B=" + value + "-changed")
				s.expect("-changed")
				s.typed("\x0f") // ^O
				s.expect("to Write")
				s.typed("\r")
				s.expect("Wrote")
			},
			quit: func(s *terminal) { s.typed("\x18") }, // ^X
		},
	}
	for name, e := range editors {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(e.command); err != nil {
				t.Skipf("suite edit in %s skipped: no %s here", name, name)
			}
			p := newPerson(t)
			for file, text := range e.settings {
				file = filepath.Join(p.home, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p.setup("dev")
			value := newCanary()
			p.must(value, "set", "A")
			s := p.as("EDITOR=" + e.command).run("edit")
			s.expect(value)
			e.edit(s, value)
			nowhere(t, value, p.home, p.dir, p.tmp) // while it is open
			e.quit(s)
			s.wants(0, "(version 2)")
			if got := p.must("", "get", "B"); got != value+"-changed" {
				t.Errorf("B is %q", got)
			}
			nowhere(t, value, p.home, p.dir, p.tmp)

			// Killed with the terminal, it leaves nothing either, and changes nothing.
			if signal.Ignored(syscall.SIGHUP) {
				t.Skip("SIGHUP was ignored when the tests began (nohup), and so it is by what they start")
			}
			before := tree(t, filepath.Join(p.dir, ".envrun"))
			s = p.as("VISUAL=" + e.command).run("edit")
			s.expect(value)
			if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			s.end()
			nowhere(t, value, p.home, p.dir, p.tmp)
			if !same(before, tree(t, filepath.Join(p.dir, ".envrun"))) {
				t.Error("a hangup wrote into the vault")
			}
			if left := memoryFiles(t, value); len(left) > 0 {
				t.Errorf("left in memory: %q", left)
			}
		})
	}
}

// memoryFiles are the files in memory-backed storage that have the value. What
// a killed editor leaves is removed by a keeper, which may take a moment.
func memoryFiles(t *testing.T, value string) (left []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left = nil
		for _, pattern := range []string{"/dev/shm/*/*", "/dev/shm/*/*/*", "/run/user/*/*/*", "/run/user/*/*/*/*"} {
			files, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
					continue
				}
				if text, err := os.ReadFile(file); err == nil {
					if _, found := holds(text, value); found {
						left = append(left, file)
					}
				}
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// What others wrote cannot steer the terminal: escape sequences, bidi and
// zero-width characters from records, project files and file names are shown
// as what they are.
func TestTerminalHostileText(t *testing.T) {
	const esc, bell, bidi, zero, c1 = "\x1b]0;pwned\x07\x1b[2J", "\a", "\u202e", "\u200b", "\u009b31m"
	hostile := "x" + esc + bidi + zero + c1 + "y"
	// clean checks all that a terminal got.
	clean := func(t *testing.T, args []string, shown string) {
		t.Helper()
		for _, bad := range []string{"\x1b", bell, bidi, zero, "\u009b", "\x9b3"} {
			if strings.Contains(shown, bad) {
				t.Errorf("%q: %q reaches the terminal: %q", args, bad, shown)
			}
		}
	}
	read := [][]string{{"list", "--long"}, {"list", "--json"}, {"history"}, {"get", "A"}, {"--", "true"}, {"explain"}, {"vault", "status"}, {"vault", "verify"}, {"vault", "seal"},
		{"doctor"}, {"diff", "dev", "qa"}, {"copy", "dev:", "qa:"}, {"rm", "A", "--yes"}, {"env", "list"}, {"key", "show"}, {"rollback", "--to", "1"}, {"set", "B=2"}, {"export", "--format", "json"}}
	show := func(t *testing.T, p *person, all [][]string) {
		t.Helper()
		for _, args := range all {
			shown, _ := p.run(append([]string{"--no-input", "-v"}, args...)...).wait()
			clean(t, args, shown)
			shown, _ = p.run(append([]string{"--no-input", "--error-format", "json"}, args...)...).wait()
			clean(t, args, shown)
		}
	}
	t.Run("record", func(t *testing.T) {
		for _, line := range []string{"note hi", "tags tag", "by alice@laptop", "path app", "= A 1 ", "at 2", "version 1", "vault v_"} {
			p := newPerson(t)
			p.git("init", "-q")
			p.setup("dev,qa")
			p.must("", "set", "A=1", "--note", "hi", "--tag", "tag")
			p.must("", "set", "-e", "qa", "A=2")
			file := ".envrun/vault/envs/dev/secrets/app.sec"
			text, err := os.ReadFile(filepath.Join(p.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			word, _, _ := strings.Cut(line, " ")
			changed := strings.Replace(string(text), "\n"+line, "\n"+word+" "+hostile+strings.TrimPrefix(line, word+" "), 1)
			if changed == string(text) {
				t.Fatalf("no line %q in\n%s", line, text)
			}
			p.write(file, changed)
			show(t, p.in(t), [][]string{{"list", "--long"}, {"history"}, {"--", "true"}, {"vault", "verify"}, {"vault", "status"}, {"doctor"}})
		}
	})
	t.Run("own note", func(t *testing.T) {
		p := newPerson(t)
		p.git("init", "-q")
		p.setup("dev,qa")
		for _, args := range [][]string{{"set", "A=1", "--note", hostile}, {"set", "A=1", "--tag", hostile}, {"set", "A=1", "--rotate", hostile}, {"set", "A" + hostile + "=1"}, {"get", hostile}, {"get", hostile + "/A"}, {"list", hostile},
			{"-e", hostile, "--", "true"}, {"--", hostile}, {"--", "./" + hostile}, {hostile}, {"env", "add", hostile}, {"env", hostile}, {"copy", hostile, "dev:"}, {"copy", "dev:" + hostile, "qa:"}, {"completion", hostile}, {"key", "move", hostile},
			{"key", "import", hostile}, {"import", hostile}, {"--config", hostile, "list"}, {"--mask", hostile, "--", "true"}, {"--only", hostile, "--", "true"}, {"-f", hostile, "--", "true"}, {"--set", hostile + "=1", "--", "true"}, {"--" + hostile},
			{"export", "--format", hostile}, {"import", "--format", hostile, "x"}, {"--error-format", hostile}, {"init", "--project", hostile}, {"edit", hostile}} {
			show(t, p.in(t), [][]string{args})
		}
		show(t, p.in(t), read)
	})
	t.Run("project file", func(t *testing.T) {
		quoted := `"` + strings.NewReplacer("\x1b", `\u001b`, "\a", `\u0007`).Replace(hostile) + `"`
		for _, text := range []string{
			quoted + " = 1\n",
			"vault = " + quoted + "\ndefault = \"dev\"\n[env.dev]\n",
			"vault = \"https://" + strings.Trim(quoted, `"`) + "\"\ndefault = \"dev\"\n[env.dev]\n",
			"vault = \".envrun/vault\"\nproject = " + quoted + "\n[env.dev]\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = " + quoted + "\n[env.dev]\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env." + quoted + "]\n[env.dev]\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\nmask = " + quoted + "\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[[inject]]\npath = \"app\"\nrename = { A = " + quoted + " }\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[[inject]]\npath = \"app\"\nonly = [" + quoted + "]\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[[inject]]\npath = " + quoted + "\n",
			"vault = \".envrun/vault\"\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[[file]]\npath = \"app\"\nfield = \"A\"\nvar = " + quoted + "\n",
			hostile + "\n",
			"# " + hostile + "\nvault = 1\n",
		} {
			p := newPerson(t)
			p.setup("dev,qa")
			p.must("", "set", "A=1")
			p.write("envrun.toml", text)
			show(t, p.in(t), [][]string{{"--", "true"}, {"explain"}, {"doctor"}, {"env", "list"}})
		}
	})
	t.Run("file names", func(t *testing.T) {
		p := newPerson(t)
		p.git("init", "-q")
		p.dir = filepath.Join(p.dir, hostile)
		if err := os.Mkdir(p.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		name := hostile + ".env"
		p.write(name, "A=1\nA=2\nB='it'\"s\"\n")
		show(t, p.in(t), [][]string{{"list"}, {"doctor"}, {"init", "--project", "app", "--env", "dev,qa", "--store", "file", "--import", name, "--format", "dotenv"}})
		p.setupIfMissing()
		p.write("bad"+name, "A=\"x\n")
		p.write(".env"+hostile, "A=\"x\n")
		show(t, p.in(t), [][]string{{"init"}, {"import", name}, {"import", name, "--format", "dotenv", "--yes"}, {"import", "bad" + name, "--format", "dotenv"}, {"-f", name, "--", "true"}, {"-f", "bad" + name, "--", "true"},
			{"import", name, "--format", "dotenv", "--template", "--gitignore"}, {"explain", "-f", name}, {"env", "add", "more"}})
		show(t, p.in(t), read)
		for _, args := range [][]string{{"import", "new" + name, "--format", "dotenv"}} {
			p.write("new"+name, "A=1\n")
			s := p.run(args...)
			s.expect("to .gitignore? [y/N] ")
			s.typed("n\n")
			shown, _ := s.wait()
			clean(t, args, shown)
		}
		// A home whose name is hostile.
		q := p.as("ENVRUN_CONFIG_DIR="+filepath.Join(p.home, hostile, "config"), "ENVRUN_STATE_DIR="+filepath.Join(p.home, hostile, "state"))
		show(t, q.in(t), [][]string{{"key", "show"}, {"key", "new", "--store", "file"}, {"key", "show"}, {"key", "new"}, {"doctor"}, {"get", "A"}, {"list"}})
	})
}

func (p *person) setupIfMissing() {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(p.dir, "envrun.toml")); err != nil {
		p.setup("dev,qa")
	}
}
