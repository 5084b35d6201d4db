package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/vault/server"
)

// load reads a configuration file of a text.
func load(t *testing.T, dir, text string) (*config, error) {
	t.Helper()
	file := filepath.Join(dir, "envrund.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return (&configFlags{file: file}).load(func(string) string { return "" })
}

func TestAuditDevices(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, dir, `
[[audit]]
name = "file"
required = true
deadline = "1s"
file = "log/audit.log"
sync = true
reserve = 0
[[audit]]
name = "siem"
syslog = "tls://siem.example.dev:6514"
facility = 13
[[audit]]
name = "splunk"
http = "https://splunk.example.dev:8088"
format = "splunk"
index = "main"
token_file = "token"
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Audit) != 3 {
		t.Fatalf("%d devices", len(c.Audit))
	}
	file, err := c.Audit[0].config()
	if err != nil || !file.Required || file.Deadline != time.Second || file.File.Path != filepath.Join(dir, "log", "audit.log") || !file.File.Sync || file.File.Reserve != -1 {
		t.Errorf("%+v, %v", file, err)
	}
	siem, err := c.Audit[1].config()
	if err != nil || siem.Required || siem.Syslog.Network != "tls" || siem.Syslog.Address != "siem.example.dev:6514" || siem.Syslog.Facility != 13 {
		t.Errorf("%+v, %v", siem, err)
	}
	splunk, err := c.Audit[2].config()
	if err != nil || splunk.HTTP.URL != "https://splunk.example.dev:8088" || splunk.HTTP.Format != "splunk" || splunk.HTTP.Index != "main" || string(splunk.HTTP.Token.Reveal()) != "s3cret" {
		t.Errorf("%+v, %v", splunk, err)
	}
	if strings.Contains(fmt.Sprintf("%+v", splunk.HTTP), "s3cret") {
		t.Error("the credential is printed")
	}
	set, err := c.devices()
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Close(t.Context()); err != nil || len(set.Health()) != 3 {
		t.Error(err)
	}
}

func TestAuditDevicesRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ text, says string }{
		{"[[audit]]\nfile = \"a\"\n", "audit device number 1: it has no name"},
		{"[[audit]]\nname = \"a\"\n", "audit device a: it is not one of file, syslog and http"},
		{"[[audit]]\nname = \"a\"\nfile = \"a\"\ndeadline = \"soon\"\n", "audit device a: deadline is not a time"},
		{"[[audit]]\nname = \"a\"\nsyslog = \"siem.example.dev:514\"\n", "syslog goes over udp, tcp or tls"},
		{"[[audit]]\nname = \"a\"\nrequired = true\nsyslog = \"udp://siem.example.dev:514\"\n", "it cannot be required"},
		{"[[audit]]\nname = \"a\"\nhttp = \"http://logs.example.dev/\"\nformat = \"json\"\n", "not https"},
		{"[[audit]]\nname = \"a\"\nhttp = \"https://logs.example.dev/\"\nformat = \"json\"\ntoken_file = \"missing\"\n", "token_file"},
		{"[[audit]]\nname = \"a\"\nhttp = \"https://logs.example.dev/\"\nformat = \"json\"\nca = \"envrund.toml\"\n", "holds no certificate"},
	} {
		conf, err := load(t, dir, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conf.devices(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	if _, err := load(t, dir, "[[audit]]\nname = \"a\"\nfile_path = \"/x\"\n"); err == nil || !strings.Contains(err.Error(), "envrund.toml:3: there is no setting audit.file_path") {
		t.Errorf("an unknown setting: %v", err)
	}
}

func TestLimitsOfConfig(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		text string
		want server.Limits
	}{
		{"", server.Limits{Burst: 1, UnknownRate: 1, UnknownBurst: 60}},
		{"[limits]\nrate = 100\n", server.Limits{Rate: 100, Burst: 200, UnknownRate: 1, UnknownBurst: 60}},
		{"[limits]\nrate = 0.5\nburst = 7\nunknown_rate = 0\n", server.Limits{Rate: 0.5, Burst: 7, UnknownBurst: 1}},
		{"[limits]\nunknown_rate = 5\nunknown_burst = 9\n", server.Limits{Burst: 1, UnknownRate: 5, UnknownBurst: 9}},
		{"[limits]\nlogin_rate = 2\nmount_rate = 0\n", server.Limits{Burst: 1, UnknownRate: 1, UnknownBurst: 60, LoginRate: 2, LoginBurst: 120, MountBurst: 1}},
		{"[limits]\nlogin_burst = 9\nmount_burst = 8\n", server.Limits{Burst: 1, UnknownRate: 1, UnknownBurst: 60, LoginRate: 5, LoginBurst: 9, MountRate: 50, MountBurst: 8}},
	} {
		conf, err := load(t, dir, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if c.want.LoginBurst == 0 {
			c.want.LoginRate, c.want.LoginBurst, c.want.MountRate, c.want.MountBurst = 5, 300, 50, 1000
		}
		if have := conf.limits(); have != c.want {
			t.Errorf("%q: %+v", c.text, have)
		}
	}
	for _, text := range []string{"[limits]\nrate = -1\n", "[limits]\nburst = -1\n", "[limits]\nunknown_rate = -0.1\n", "[limits]\nlogin_rate = -1\n", "[limits]\nmount_burst = -1\n"} {
		if _, err := load(t, dir, text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
