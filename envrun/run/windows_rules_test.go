package run_test

import (
	"slices"
	"strings"
	"testing"

	"envrun/envrun/run"
)

// Runner W4 and P4, on a disk that exists only here.
func TestLookWindows(t *testing.T) {
	t.Parallel()
	disk := []string{
		`C:\Windows\System32\cmd.exe`, `C:\Windows\System32\find.exe`,
		`C:\node\node.exe`, `C:\node\npm`, `C:\node\npm.cmd`, `C:\node\script.js`,
		`C:\tools\both.com`, `C:\tools\both.exe`, `C:\tools\run.tool.exe`,
		`here.exe`, `bin\near.exe`, `\\server\share\far.exe`, `C:\quoted dir\q.exe`, `noext`,
	}
	isFile := func(name string) bool {
		return slices.ContainsFunc(disk, func(f string) bool { return strings.EqualFold(f, name) })
	}
	const path = `C:\node;;bin;"C:\quoted dir";C:\tools\;\\server\share;C:\Windows\System32`
	for _, test := range []struct {
		name, pathext, want string
		reason              run.Reason
	}{
		{"node", "", `C:\node\node.exe`, 0},
		{"NODE.EXE", "", `C:\node\NODE.EXE`, 0},
		{"npm", "", `C:\node\npm.cmd`, 0}, // not the file without an extension, which is for another system
		{"both", "", `C:\tools\both.com`, 0},
		{"both", ".EXE;.COM", `C:\tools\both.exe`, 0},
		{"both", "EXE", `C:\tools\both.exe`, 0},
		{"run.tool", "", `C:\tools\run.tool.exe`, 0},
		{"q", "", `C:\quoted dir\q.exe`, 0},
		{"far", "", `\\server\share\far.exe`, 0},
		{"cmd", "", `C:\Windows\System32\cmd.exe`, 0},
		{"here", "", "", run.ReasonNotFound}, // cmd.exe would find it where it stands
		{`.\here`, "", "", run.ReasonNotFound},
		{"near", "", "", run.ReasonRelative},
		{`bin\near`, "", `bin\near.exe`, 0},
		{`bin/near`, "", "", run.ReasonNotFound},
		{`C:\node\npm`, "", `C:\node\npm.cmd`, 0},
		{`C:\node\script.js`, "", "", run.ReasonFormat},
		{`C:\node\script.js`, ".EXE;.JS", `C:\node\script.js`, 0},
		{"nothing", "", "", run.ReasonNotFound},
	} {
		got, err := run.LookWindows(test.name, path, test.pathext, isFile)
		if got != test.want || (err == nil) != (test.want != "") || err != nil && err.Reason != test.reason {
			t.Errorf("%s with %q: %q, %v", test.name, test.pathext, got, err)
		}
	}
}

// What cmd.exe would take for something else is refused; the rest is quoted.
func TestBatchLine(t *testing.T) {
	t.Parallel()
	const cmd = `C:\Windows\System32\cmd.exe`
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, `""C:\x\a b.cmd""`},
		{[]string{"plain", ""}, `""C:\x\a b.cmd" "plain" """`},
		{[]string{"a b", "a&b|c>d<e^f", "(x)", "!v!", "a;b,c=d", "*?"}, `""C:\x\a b.cmd" "a b" "a&b|c>d<e^f" "(x)" "!v!" "a;b,c=d" "*?""`},
		{[]string{`C:\dir\`, `\\`}, `""C:\x\a b.cmd" "C:\dir\\" "\\\\""`},
	} {
		got, err := run.BatchLine(cmd, "a", `C:\x\a b.cmd`, test.args)
		if want := `"` + cmd + `" /d /v:off /s /c ` + test.want; err != nil || got != want {
			t.Errorf("%q:\n%s, %v, want\n%s", test.args, got, err, want)
		}
	}
	for _, bad := range []string{"%PATH%", "100%", `say "hi"`, `"&calc.exe`, "a\nb", "a\rb", "a\x00b"} {
		_, err := run.BatchLine(cmd, "a", `C:\x\a.cmd`, []string{"ok", bad})
		if err == nil || err.Reason != run.ReasonBatch || err.Code != 126 || !strings.Contains(err.Error(), "argument 2") {
			t.Errorf("%q: %v", bad, err)
		}
		if err != nil && strings.Contains(err.Error(), bad) && bad != "%" {
			t.Errorf("%q: the error shows the argument", bad)
		}
	}
	if got := run.ShellLine(cmd, `echo "a b" & ver`); got != `"`+cmd+`" /d /s /c "echo "a b" & ver"` {
		t.Error(got)
	}
}
