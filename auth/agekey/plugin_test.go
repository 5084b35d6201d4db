package agekey_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"envrun/auth/agekey"
)

// install puts this test binary into dir as a plugin.
func install(t *testing.T, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "age-plugin-"+name)
	if err := os.Symlink(self, file); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	return file
}

func setPath(t *testing.T, dirs ...string) {
	t.Helper()
	t.Setenv("PATH", strings.Join(dirs, string(os.PathListSeparator)))
}

// withPlugin installs a plugin in PATH and returns its folder.
func withPlugin(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, name)
	setPath(t, dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each plugin takes a second to end under the race detector
	return dir
}

func recipientOf(name string) string { return plugin.EncodeRecipient(name, []byte("0123456789")) }
func identityOf(name string) string  { return plugin.EncodeIdentity(name, []byte("0123456789")) }

func pluginRecipient(t *testing.T, name string, ui *plugin.ClientUI) age.Recipient {
	t.Helper()
	r, err := agekey.PluginRecipient(recipientOf(name), ui)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The plugins, by name. Those that keep to the protocol are made with age's own
// framework, and their key is the classic identity.
func pluginMain(name string) int {
	kind, _, _ := strings.Cut(name, "-")
	switch kind {
	case "hangs":
		return hang(false)
	case "stays": // it does not even listen
		return hang(true)
	case "leaves": // a child that holds its ends of the pipes, and goes
		cmd := exec.Command(os.Args[0])
		cmd.Args = []string{filepath.Join(filepath.Dir(os.Args[0]), "age-plugin-stays")}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return 1
		}
		_ = os.WriteFile(filepath.Join(filepath.Dir(os.Args[0]), "child"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
		return 0
	case "dies":
		fmt.Fprintln(os.Stderr, "no token\x1b[2J in any reader")
		return 3
	case "garbage":
		drainStanzas()
		fmt.Print("\x1b[2Jhello\n")
		return 0
	case "binary":
		drainStanzas()
		_, _ = os.Stdout.Write(bytes.Repeat([]byte{0, 0xff, '\n'}, 100))
		return 0
	case "line", "body", "stanzas": // one without end
		drainStanzas()
		pieces := map[string][2]string{"line": {"-> ", "a"}, "body": {"-> x\n", strings.Repeat("A", 64) + "\n"}, "stanzas": {"", "-> x\n\n"}}[kind]
		_, err := os.Stdout.WriteString(pieces[0])
		for err == nil {
			_, err = os.Stdout.WriteString(strings.Repeat(pieces[1], 100))
		}
		return 0
	case "says": // whatever follows in its name, in hexadecimal, as its answer
		drainStanzas()
		text := make([]byte, 1000)
		n, _ := fmt.Sscanf(strings.TrimPrefix(name, "says-"), "%x", &text)
		if n == 1 {
			_, _ = os.Stdout.Write(text)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	p, err := plugin.New(name)
	if err != nil {
		return 1
	}
	classicID, err := age.ParseX25519Identity(classic)
	if err != nil {
		return 1
	}
	p.HandleIdentity(func([]byte) (age.Identity, error) { return talking{p, kind, classicID}, nil })
	p.HandleRecipient(func([]byte) (age.Recipient, error) { return talking{p, kind, classicID}, nil })
	return p.Main()
}

// hang says which process it is and ignores what asks it to end.
func hang(deaf bool) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	if !deaf {
		drainStanzas()
	}
	_ = os.WriteFile(filepath.Join(filepath.Dir(os.Args[0]), "pid"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	for { // whoever killed only its parent must not leave it behind in a test
		time.Sleep(100 * time.Millisecond)
		if _, err := os.Stat(filepath.Dir(os.Args[0])); err != nil {
			return 1
		}
	}
}

// drainStanzas reads what the plugin is told, up to "done".
func drainStanzas() {
	r := bufio.NewReader(os.Stdin)
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "-> done\n" {
			_, _ = r.ReadString('\n')
			return
		}
	}
}

// talking does what its kind says on the way to its work.
type talking struct {
	p    *plugin.Plugin
	kind string
	id   *age.X25519Identity
}

func (a talking) talk() error {
	switch a.kind {
	case "pin", "envruntest":
		if pin, err := a.p.RequestValue("PIN", true); err != nil || pin != "1234" {
			return fmt.Errorf("wrong PIN: %w", err)
		}
	case "chats":
		if err := a.p.DisplayMessage("touch\x1b[2J it"); err != nil {
			return err
		}
		name, err := a.p.RequestValue("your name", false)
		if err != nil {
			return err
		}
		first, err := a.p.Confirm("is it "+name, "of course", "")
		if err != nil {
			return err
		}
		second, err := a.p.Confirm("really", "yes", "no")
		if err != nil || !first || second {
			return fmt.Errorf("%v, %v: %w", first, second, err)
		}
	case "fails":
		return errors.New("the token is\x1b[2J locked" + strings.Repeat("!", 2000))
	case "env":
		wd, err := os.Getwd()
		return fmt.Errorf("key %q token %q home %q in %s, %w", os.Getenv("ENVRUN_KEY"), os.Getenv("VAULT_TOKEN"), os.Getenv("HOME"), wd, err)
	}
	return nil
}

func (a talking) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if err := a.talk(); err != nil {
		return nil, err
	}
	return a.id.Unwrap(stanzas)
}

func (a talking) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	s, _, err := a.WrapWithLabels(fileKey)
	return s, err
}

func (a talking) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	if err := a.talk(); err != nil {
		return nil, nil, err
	}
	s, err := a.id.Recipient().Wrap(fileKey)
	if a.kind == "labels" {
		return s, []string{"a", "b"}, err
	}
	return s, nil, err
}

func TestFindPlugin(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	file := install(t, dir, "there")
	install(t, "bin", "near")
	install(t, ".", "here")
	install(t, "bin", "there")
	setPath(t, "", ".", "bin", t.TempDir(), dir)
	if got, err := agekey.FindPlugin("there"); err != nil || got != file {
		t.Errorf("got %q, %v, want %q", got, err, file)
	}
	for name, want := range map[string]string{
		"near": "relative", "here": "relative", "nowhere": "not in PATH",
		"": "not in PATH", "../" + filepath.Base(dir) + "/x": "not in PATH", file: "not in PATH",
	} {
		_, err := agekey.FindPlugin(name)
		var missing *agekey.PluginError
		if !errors.As(err, &missing) || !missing.Missing || missing.Plugin != name || !strings.Contains(missing.Reason, want) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
	// Only what can be run counts.
	if err := os.WriteFile(filepath.Join(dir, "age-plugin-text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "age-plugin-folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"text", "folder"} {
		if file, err := agekey.FindPlugin(name); err == nil {
			t.Errorf("%s: got %s", name, file)
		}
	}
}

func TestPluginRecipientRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	install(t, "bin", "near")
	setPath(t, "bin", t.TempDir())
	absent := recipientOf("absent")
	for _, test := range []struct {
		s       string
		plugin  string
		missing bool
		want    string
	}{
		{absent, "absent", true, "age-plugin-absent is not in PATH"},
		{recipientOf("near"), "near", true, "relative folder"},
		{absent[:len(absent)-1], "", false, "cut short"},
		{"", "", false, "cut short"},
		{classic, "", false, "cut short"},
		{pluginLine, "", false, "cut short"},
	} {
		_, err := agekey.PluginRecipient(test.s, nil)
		var bad *agekey.RecipientError
		if !errors.As(err, &bad) || bad.Plugin != test.plugin || bad.Missing != test.missing || !strings.Contains(bad.Reason, test.want) {
			t.Errorf("%.20s: got %v", test.s, err)
		}
	}
	// One that is gone since.
	dir := withPlugin(t, "plain")
	r := pluginRecipient(t, "plain", nil)
	if err := os.Remove(filepath.Join(dir, "age-plugin-plain")); err != nil {
		t.Fatal(err)
	}
	var missing *agekey.PluginError
	if _, err := sealing(r, "x"); !errors.As(err, &missing) || !missing.Missing {
		t.Errorf("got %v", err)
	}
}

// A plugin in its own process: this test binary under the plugin's name. Its
// key is the classic identity, and it asks for a PIN first.
func TestPlugin(t *testing.T) {
	withPlugin(t, "envruntest")
	id := parse(t, "# recipient: "+classicRecipient+"\n"+pluginLine+"\n"+pluginLine)
	if got := id.Plugins(); len(got) != 1 || got[0] != "envruntest" {
		t.Errorf("plugins %v", got)
	}
	sealed := seal(t, id.Recipient(), "text")

	// Nobody to ask: an error, not a hang.
	if _, err := open(id, sealed); err == nil {
		t.Error("opened without the PIN")
	}
	asked := ""
	ui := &plugin.ClientUI{RequestValue: func(name, prompt string, secret bool) (string, error) {
		asked = fmt.Sprint(name, " ", prompt, " ", secret)
		return "1234", nil
	}}
	if got, err := open(id.WithPluginUI(ui), sealed); err != nil || got != "text" || asked != "envruntest PIN true" {
		t.Errorf("got %q, %v, asked %q", got, err, asked)
	}
	if _, err := open(id, sealed); err == nil {
		t.Error("the first one learnt to ask")
	}
	t.Setenv("PATH", "/nowhere")
	var missing *agekey.PluginError
	if _, err := open(id, sealed); !errors.As(err, &missing) || !missing.Missing || missing.Plugin != "envruntest" {
		t.Errorf("without the program: %v", err)
	}
}

// Ours and age's own client understand the same plugins. Each is tried often,
// since both sides of the protocol throw in stanzas at random to keep it open.
func TestPluginLikeAge(t *testing.T) {
	withPlugin(t, "plain")
	ours := pluginRecipient(t, "plain", nil)
	theirs, err := plugin.NewRecipient(recipientOf("plain"), &plugin.ClientUI{})
	if err != nil {
		t.Fatal(err)
	}
	theirID, err := plugin.NewIdentity(identityOf("plain"), &plugin.ClientUI{})
	if err != nil {
		t.Fatal(err)
	}
	ourID := parse(t, identityOf("plain"))
	for i := range 8 {
		text := strings.Repeat("x", i)
		for name, r := range map[string]age.Recipient{"ours": ours, "theirs": theirs} {
			sealed := sealTo(t, r, text)
			if got, err := open(ourID, sealed); err != nil || got != text {
				t.Errorf("%s opened by us: %q, %v", name, got, err)
			}
			if got, err := decryptWith(theirID, sealed); err != nil || got != text {
				t.Errorf("%s opened by age: %q, %v", name, got, err)
			}
			if got, err := open(parse(t, classic), sealed); err != nil || got != text {
				t.Errorf("%s opened by the key itself: %q, %v", name, got, err)
			}
		}
	}
	// What is for somebody else.
	_, err = open(ourID, seal(t, hybrid(t).Recipient(), "x"))
	var other *age.NoIdentityMatchError
	if !errors.As(err, &other) {
		t.Errorf("another's file: %v", err)
	}
	if s := fmt.Sprintf("%v %+v", ours, ourID.Unwrap()); strings.Contains(s, "AGE-PLUGIN") {
		t.Errorf("prints as %s", s)
	}
}

func TestPluginLabels(t *testing.T) {
	withPlugin(t, "labels")
	r := pluginRecipient(t, "labels", nil)
	labelled, ok := r.(age.RecipientWithLabels)
	if !ok {
		t.Fatal("it says no labels")
	}
	s, labels, err := labelled.WrapWithLabels([]byte("0123456789abcdef"))
	if err != nil || len(s) != 1 || s[0].Type != "X25519" || !slices.Equal(labels, []string{"a", "b"}) {
		t.Errorf("got %v, %v, %v", s, labels, err)
	}
	// age keeps it apart from recipients of other labels.
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Encrypt(io.Discard, r, x.Recipient()); err == nil {
		t.Error("mixed with one of other labels")
	}
}

// What a plugin says goes to the functions it is given, and nowhere else.
func TestPluginAsks(t *testing.T) {
	withPlugin(t, "chats")
	var said []string
	say := func(f string, args ...any) { said = append(said, fmt.Sprintf(f, args...)) }
	ui := &plugin.ClientUI{
		DisplayMessage: func(name, message string) error { say("%s %q", name, message); return nil },
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			say("%s %q %v", name, prompt, secret)
			return "bob", nil
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			say("%s %q %q %q", name, prompt, yes, no)
			return no == "", nil
		},
	}
	want := []string{`chats "touch\x1b[2J it"`, `chats "your name" false`, `chats "is it bob" "of course" ""`, `chats "really" "yes" "no"`}
	sealed := sealTo(t, pluginRecipient(t, "chats", ui), "x")
	if !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	said = nil
	if got, err := open(parse(t, identityOf("chats")).WithPluginUI(ui), sealed); err != nil || got != "x" || !slices.Equal(said, want) {
		t.Errorf("got %q, %v; said %q", got, err, said)
	}
	// Each function may be missing, or fail.
	no := errors.New("nobody is here")
	for name, ui := range map[string]*plugin.ClientUI{
		"none":     nil,
		"empty":    {},
		"message":  {DisplayMessage: func(string, string) error { return no }, RequestValue: ui.RequestValue, Confirm: ui.Confirm},
		"value":    {DisplayMessage: ui.DisplayMessage, RequestValue: func(string, string, bool) (string, error) { return "x", no }, Confirm: ui.Confirm},
		"no value": {DisplayMessage: ui.DisplayMessage, Confirm: ui.Confirm},
		"confirm":  {DisplayMessage: ui.DisplayMessage, RequestValue: ui.RequestValue, Confirm: func(string, string, string, string) (bool, error) { return true, no }},
	} {
		var bad *agekey.PluginError
		if _, err := sealing(pluginRecipient(t, "chats", ui), "x"); !errors.As(err, &bad) || bad.Plugin != "chats" || bad.Missing {
			t.Errorf("%s: got %v", name, err)
		} else if errors.Is(err, no) == (name == "none" || name == "empty" || name == "no value") {
			t.Errorf("%s: why nobody answered is lost or made up: %v", name, err)
		}
	}
}

// Whatever a plugin does, sealing and opening end, with an error that says what
// it did.
func TestPluginMisbehaves(t *testing.T) {
	stanza := func(s string) string { return fmt.Sprintf("says-%x", s) }
	for _, test := range []struct {
		name       string
		seal, open string // what the error says; "" if that is fine
	}{
		{"dies", "exit status 3: no token\x1b[2J in any reader", "exit status 3: no token"},
		{"fails", "says: the token is\x1b[2J locked!", "says: the token is"},
		{"garbage", "protocol", "protocol"},
		{"binary", "protocol", "protocol"},
		{"line", "a line of more than", "a line of more than"},
		{"body", "a stanza of more than", "a stanza of more than"},
		{"stanzas", "more than 1000 stanzas", "more than 1000 stanzas"},
		{stanza(""), "said nothing", "said nothing"},
		{stanza("-> done\n\n"), "nothing that a recipient", "did not match"},
		{stanza("-> done\n"), "said nothing", "said nothing"}, // half a stanza
		{stanza("-> recipient-stanza 1 X\n\n"), "not asked for", "said nothing"},
		{stanza("-> recipient-stanza 0\n\n"), "not asked for", "said nothing"},
		{stanza("-> labels\n\n-> labels\n\n"), "labels twice", "said nothing"},
		{stanza("-> file-key 0\nMDEyMzQ1Njc4OWFiY2Rl\n"), "said nothing", "not asked for"}, // 15 bytes
		{stanza("-> file-key 1\nMDEyMzQ1Njc4OWFiY2RlZg\n"), "said nothing", "not asked for"},
		{stanza("-> file-key 0\nMDEyMzQ1Njc4OWFiY2RlZg\n-> file-key 0\nMDEyMzQ1Njc4OWFiY2RlZg\n"), "said nothing", "not asked for"},
		{stanza("-> error internal\n\n"), "says: ", "says: "},
		{stanza("-> confirm\n\n"), "said nothing", "said nothing"},
		{stanza("-> confirm !\n\n"), "said nothing", "said nothing"},
		{"hangs", "said nothing", "said nothing"},
		{"stays", "said nothing", "said nothing"},
	} {
		name, _, _ := strings.Cut(test.name, "-")
		t.Run(name, func(t *testing.T) {
			dir := withPlugin(t, test.name)
			ui := &plugin.ClientUI{Confirm: func(string, string, string, string) (bool, error) { return true, nil }}
			check := func(what, want string, try func() error) {
				t.Helper()
				wait := agekey.PluginPatience
				if want == "said nothing" {
					wait = 300 * time.Millisecond
				}
				agekey.SetPatience(t, wait)
				err := try()
				var bad *agekey.PluginError
				if err == nil || !strings.Contains(err.Error(), want) || errors.As(err, &bad) == (want == "did not match") {
					t.Errorf("%s: got %v, want %q", what, err, want)
				}
				if err != nil && len(err.Error()) > 1000 {
					t.Errorf("%s: an error of %d bytes", what, len(err.Error()))
				}
				if pid, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil && alive(string(pid)) {
					t.Errorf("%s: its process is still there", what)
				}
			}
			check("seal", test.seal, func() error {
				_, err := sealing(pluginRecipient(t, test.name, ui), "x")
				return err
			})
			check("open", test.open, func() error {
				_, err := open(parse(t, identityOf(test.name)).WithPluginUI(ui), seal(t, classicRecipient, "x"))
				return err
			})
		})
	}
}

// alive reports whether a process is there.
func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	p, err := os.FindProcess(n)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

// A child that a plugin leaves behind with its ends of the pipes keeps nobody.
func TestPluginLeavesChild(t *testing.T) {
	agekey.SetPatience(t, 300*time.Millisecond)
	dir := withPlugin(t, "leaves")
	t.Cleanup(func() { // before its folder goes, which is what it waits for
		if pid, err := os.ReadFile(filepath.Join(dir, "child")); err == nil {
			if n, err := strconv.Atoi(string(pid)); err == nil {
				if p, err := os.FindProcess(n); err == nil {
					_ = p.Kill()
				}
			}
		}
	})
	var bad *agekey.PluginError
	if _, err := sealing(pluginRecipient(t, "leaves", nil), "x"); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}

// A caller who gives up ends the plugin, which has the patience of PluginPatience.
func TestPluginStopped(t *testing.T) {
	dir := withPlugin(t, "hangs")
	for name, try := range map[string]func(ctx context.Context) error{
		"seal": func(ctx context.Context) error {
			r := pluginRecipient(t, "hangs", nil).(interface {
				WithContext(context.Context) age.Recipient
			})
			_, err := sealing(r.WithContext(ctx), "x")
			return err
		},
		"open": func(ctx context.Context) error {
			id := parse(t, identityOf("hangs")).Unwrap()[0].(interface {
				WithContext(context.Context) age.Identity
			})
			_, err := decryptWith(id.WithContext(ctx), seal(t, classicRecipient, "x"))
			return err
		},
	} {
		pid := filepath.Join(dir, "pid")
		_ = os.Remove(pid)
		why := errors.New("enough of it")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			for { // it began
				if _, err := os.Stat(pid); err == nil || ctx.Err() != nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			cancel(why)
		}()
		err := try(ctx)
		cancel(nil)
		var bad *agekey.PluginError
		if !errors.As(err, &bad) || !errors.Is(err, why) {
			t.Errorf("%s: got %v", name, err)
		}
		if b, err := os.ReadFile(pid); err != nil || alive(string(b)) {
			t.Errorf("%s: its process is still there, %v", name, err)
		}
		if err := try(ctx); !errors.Is(err, why) { // it has ended before
			t.Errorf("%s again: got %v", name, err)
		}
	}
}

// While a person is asked the plugin need not speak.
func TestPluginWaitsForPerson(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the patience that it is about")
	}
	withPlugin(t, "pin")
	// The patience must do for the plugin to start, here and now, and the person
	// takes longer each time.
	for wait := time.Second; ; wait *= 4 {
		agekey.SetPatience(t, wait)
		ui := &plugin.ClientUI{RequestValue: func(string, string, bool) (string, error) {
			time.Sleep(wait + wait/4)
			return "1234", nil
		}}
		_, err := sealing(pluginRecipient(t, "pin", ui), "x")
		if err == nil {
			return
		}
		if wait > 10*time.Second {
			t.Fatal(err)
		}
	}
}

// It gets our environment without our keys, and not our working directory.
func TestPluginEnvironment(t *testing.T) {
	dir := withPlugin(t, "env")
	t.Setenv("ENVRUN_KEY", classic)
	t.Setenv("VAULT_TOKEN", "hvs.x")
	t.Setenv("HOME", "/home/bob")
	t.Chdir(t.TempDir())
	_, err := sealing(pluginRecipient(t, "env", nil), "x")
	real, _ := filepath.EvalSymlinks(dir)
	if err == nil || !strings.Contains(err.Error(), `key "" token "" home "/home/bob" in `) || !strings.Contains(err.Error(), dir) && !strings.Contains(err.Error(), real) {
		t.Errorf("got %v", err)
	}
}

func TestStanzas(t *testing.T) {
	for n := range 200 {
		s := age.Stanza{Type: "type", Args: []string{"a", "!~"}, Body: bytes.Repeat([]byte{0xa5}, n)}
		var b bytes.Buffer
		if err := agekey.WriteStanza(&b, s); err != nil {
			t.Fatal(err)
		}
		got, err := agekey.ReadStanza(bufio.NewReader(&b))
		if err != nil || got.Type != s.Type || !slices.Equal(got.Args, s.Args) || !bytes.Equal(got.Body, s.Body) {
			t.Fatalf("%d bytes: got %+v, %v", n, got, err)
		}
	}
	for _, s := range []age.Stanza{{}, {Type: "a b"}, {Type: "a", Args: []string{""}}, {Type: "a", Args: []string{"x\ny"}}, {Type: "ä"}} {
		if err := agekey.WriteStanza(new(bytes.Buffer), s); err == nil {
			t.Errorf("%+v was written", s)
		}
	}
}

func FuzzReadStanza(f *testing.F) {
	for _, s := range []string{"-> done\n\n", "-> ok\nMDEy\n", "-> a b c\n" + strings.Repeat("A", 64) + "\n\n", "-> x\r\n\r\n", "->\n\n", "-> x\nA\n", "-> x\nMDEy\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(text), agekey.MaxStanzaLine)
		s, err := agekey.ReadStanza(r)
		if err != nil {
			var bad agekey.StanzaError
			if !errors.As(err, &bad) && !errors.Is(err, io.EOF) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		rest, _ := io.ReadAll(r)
		var b bytes.Buffer
		if err := agekey.WriteStanza(&b, *s); err != nil || !bytes.Equal(append(b.Bytes(), rest...), text) {
			t.Fatalf("%q is written as %q, %v", text, b.Bytes(), err)
		}
	})
}
