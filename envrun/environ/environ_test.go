package environ_test

import (
	"fmt"
	"slices"
	"testing"

	"envrun/envrun/environ"
	"envrun/vault"
)

func TestFromList(t *testing.T) {
	for _, tt := range []struct {
		name, goos string
		in, want   []string
	}{
		{"sorted", "linux", []string{"B=2", "A=1"}, []string{"A=1", "B=2"}},
		{"the last wins", "linux", []string{"A=1", "B=2", "A=3"}, []string{"A=3", "B=2"}},
		{"case counts on Unix", "linux", []string{"a=1", "A=2"}, []string{"A=2", "a=1"}},
		{"case does not count on Windows", "windows", []string{"Path=1", "PATH=2"}, []string{"PATH=2"}},
		{"sorted without case on Windows", "windows", []string{"b=1", "A=1", "C=1"}, []string{"A=1", "b=1", "C=1"}},
		{"values are bytes", "linux", []string{"A=\xff=\n", "B="}, []string{"A=\xff=\n", "B="}},
		{"drives are kept on Windows", "windows", []string{`=D:=D:\x`, `=C:=C:\a`, `=c:=C:\b`, "A=1"}, []string{`=c:=C:\b`, `=D:=D:\x`, "A=1"}},
		{"what is no variable is kept on Unix", "linux", []string{"junk", "=x", "A=1", "junk", "A"}, []string{"=x", "A", "A=1", "junk"}},
		{"what Windows cannot have is dropped", "windows", []string{"junk", "=x", "A=1"}, []string{"A=1"}},
		{"what no system can pass on is dropped", "linux", []string{"", "A=\x00", "B=1"}, []string{"B=1"}},
		{"nothing", "linux", nil, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := environ.FromList(tt.in, tt.goos).List(); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSetAndUnset(t *testing.T) {
	e := environ.FromList([]string{"Path=x", "A=1"}, "windows")
	if err := e.Set("PATH", "y"); err != nil {
		t.Fatal(err)
	}
	if v, ok := e.Get("path"); v != "y" || !ok {
		t.Errorf("path is %q, %v", v, ok)
	}
	if got, want := e.Names(), []string{"A", "PATH"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	e.Unset("a")
	e.Unset("not there")
	if _, ok := e.Get("A"); ok || e.Len() != 1 {
		t.Errorf("A is still there, %d in all", e.Len())
	}

	e = environ.FromList([]string{"Path=x"}, "linux")
	if _, ok := e.Get("PATH"); ok {
		t.Error("on Linux PATH is Path")
	}
	for _, bad := range [][2]string{{"", "x"}, {"A=B", "x"}, {"A\x00", "x"}, {"A", "canary\x00"}} {
		err := e.Set(bad[0], bad[1])
		if vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("Set(%q): %v", bad[0], err)
		}
		noCanary(t, err, "canary")
	}
}

func TestMergeAndClone(t *testing.T) {
	a := environ.FromList([]string{"A=1", "B=1", "junk"}, "linux")
	c := a.Clone()
	a.Merge(environ.FromList([]string{"B=2", "C=2", "more"}, "linux"))
	if got, want := a.List(), []string{"A=1", "B=2", "C=2", "junk", "more"}; !slices.Equal(got, want) {
		t.Errorf("merged %q, want %q", got, want)
	}
	if got, want := c.List(), []string{"A=1", "B=1", "junk"}; !slices.Equal(got, want) {
		t.Errorf("the clone changed: %q, want %q", got, want)
	}
}

func TestClean(t *testing.T) {
	unix := environ.FromList([]string{"PATH=p", "HOME=h", "LC_ALL=C", "SSH_AUTH_SOCK=s", "SECRET=x", "KEEP=k", "APPDATA=a", "junk"}, "linux")
	if got, want := unix.Clean("KEEP", "ABSENT").List(), []string{"HOME=h", "KEEP=k", "LC_ALL=C", "PATH=p", "SSH_AUTH_SOCK=s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	windows := environ.FromList([]string{"Path=p", "SystemRoot=r", "AppData=a", "HOME=h", "SECRET=x", `=C:=C:\`}, "windows")
	if got, want := windows.Clean().List(), []string{`=C:=C:\`, "AppData=a", "Path=p", "SystemRoot=r"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMarkAndDropOwn(t *testing.T) {
	e := environ.FromList([]string{"ENVRUN_KEY=k", "ENVRUN_TOKEN=t", "VAULT_TOKEN=v", "VAULT_ADDR=a", "ENVRUN_ENV=old", "A=1"}, "linux")
	if got, want := e.DropOwn(), []string{"ENVRUN_KEY", "ENVRUN_TOKEN", "VAULT_TOKEN"}; !slices.Equal(got, want) {
		t.Errorf("dropped %q, want %q", got, want)
	}
	e.Mark("prod")
	if got, want := e.List(), []string{"A=1", "ENVRUN=1", "ENVRUN_ENV=prod", "VAULT_ADDR=a"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnEnvironDoesNotPrint(t *testing.T) {
	e := environ.FromList([]string{"A=canary"}, "linux")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		if got := fmt.Sprintf(verb, e); got != "[environment of 1 variables]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if got := fmt.Sprint((*environ.Environ)(nil)); got != "[no environment]" {
		t.Errorf("nil prints %q", got)
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"A", "_", "a1", "STRIPE_KEY", "__x"} {
		if err := environ.CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "1A", "A-B", "A.B", "A B", "é", "A=", "A\n", "A\x00", "BASH_FUNC_x%%"} {
		if err := environ.CheckName(bad); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, name := range []string{
		"PATH", "Path", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "PS4", "PROMPT_COMMAND", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES",
		"GCONV_PATH", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PERL5OPT", "PERL5LIB", "RUBYOPT", "RUBYLIB",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_CONFIG_COUNT", "EDITOR", "PAGER", "BROWSER",
		"http_proxy", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "COMSPEC", "PATHEXT", "WINDIR", "ENVRUN", "ENVRUN_KEY", "envrun_env", "COR_PROFILER_PATH",
	} {
		if reason, refused := environ.Refused(name); !refused || reason == "" {
			t.Errorf("%s is not refused", name)
		}
	}
	for _, name := range []string{"", "A", "DATABASE_URL", "STRIPE_KEY", "VAULT_TOKEN", "NODE_ENV", "GITHUB_TOKEN", "COR_ID", "PATHS", "LDAP_URL", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "no_proxy"} {
		if reason, refused := environ.Refused(name); refused || reason != "" {
			t.Errorf("%s is refused: %s", name, reason)
		}
	}
}

func TestOwn(t *testing.T) {
	for _, name := range []string{"ENVRUN_KEY", "ENVRUN_TOKEN", "ENVRUN_VAULT", "ENVRUN_CONFIG_DIR", "ENVRUN_ANYTHING", "VAULT_TOKEN", "vault_token", "Envrun_Key"} {
		if !environ.Own(name) {
			t.Errorf("%s would reach the child", name)
		}
	}
	for _, name := range []string{"ENVRUN", "ENVRUN_ENV", "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_TOKEN_2", "ENVRUNNER", "", "A"} {
		if environ.Own(name) {
			t.Errorf("%s would be kept from the child", name)
		}
	}
}
