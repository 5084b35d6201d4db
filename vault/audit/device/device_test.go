package device_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/audit/device"
)

var hasher = audit.NewHasher(make([]byte, 32))

// patient is a deadline that nothing here comes near to, on any machine.
const patient = time.Minute

func line(n int) audit.Line {
	e := audit.Entry{
		Auth:    audit.Auth{DisplayName: "ann", ClientToken: hasher.Hash("t")},
		Request: audit.Request{ID: fmt.Sprintf("id-%d", n), Operation: "read", MountPoint: "prod/", Path: "prod/data/app", RemoteAddress: "10.0.0.9", RemotePort: 4},
		Time:    time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC), Type: audit.Intent,
	}
	return e.Line()
}

func open(t *testing.T, configs ...device.Config) *device.Set {
	t.Helper()
	s, err := device.Open(configs, "host1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A device that hangs on purpose is not waited for.
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

func write(t *testing.T, s *device.Set, lines ...audit.Line) {
	t.Helper()
	if err := s.Write(t.Context(), lines...); err != nil {
		t.Fatal(err)
	}
}

// content waits until a file has n lines, and returns them.
func content(t *testing.T, file string, n int) []string {
	t.Helper()
	for end := time.Now().Add(patient); ; time.Sleep(5 * time.Millisecond) {
		raw, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(raw), "\n")
		if lines = lines[:len(lines)-1]; len(lines) >= n || time.Now().After(end) {
			if len(lines) != n {
				t.Fatalf("%s has %d lines, want %d:\n%s", file, len(lines), n, raw)
			}
			return lines
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := &device.File{Path: filepath.Join(t.TempDir(), "a")}
	https := func(c device.HTTP) device.Config { return device.Config{Name: "a", HTTP: &c} }
	syslog := func(network, address string) device.Config {
		return device.Config{Name: "a", Syslog: &device.Syslog{Network: network, Address: address}}
	}
	udp := syslog("udp", "127.0.0.1:514")
	udp.Required = true
	for name, c := range map[string]struct {
		configs []device.Config
		says    string
	}{
		"no name":              {[]device.Config{{File: file}}, "number 1: it has no name"},
		"two names":            {[]device.Config{{Name: "a", File: file}, {Name: "a", File: file}}, "another one"},
		"nothing":              {[]device.Config{{Name: "a"}}, "not one of"},
		"two things":           {[]device.Config{{Name: "a", File: file, Syslog: &device.Syslog{}}}, "not one of"},
		"a deadline":           {[]device.Config{{Name: "a", File: file, Deadline: -1}}, "negative"},
		"a relative path":      {[]device.Config{{Name: "a", File: &device.File{Path: "audit.log"}}}, "not absolute"},
		"required over UDP":    {[]device.Config{udp}, "cannot be required"},
		"a network":            {[]device.Config{syslog("unix", "x:1")}, "udp, tcp or tls"},
		"an address":           {[]device.Config{syslog("tcp", "localhost")}, "host:port"},
		"a facility":           {[]device.Config{{Name: "a", Syslog: &device.Syslog{Network: "tcp", Address: "a:1", Facility: 24}}}, "facility"},
		"no URL":               {[]device.Config{https(device.HTTP{Format: "json"})}, "URL"},
		"plain HTTP":           {[]device.Config{https(device.HTTP{Format: "json", URL: "http://logs.example.dev/x"})}, "not https"},
		"a password":           {[]device.Config{https(device.HTTP{Format: "json", URL: "https://u:hunter2@logs.example.dev/x"})}, "user"},
		"a query":              {[]device.Config{https(device.HTTP{Format: "json", URL: "https://logs.example.dev/x?token=hunter2"})}, "query"},
		"a URL that is none":   {[]device.Config{https(device.HTTP{Format: "json", URL: "https://u:hunter2@logs\x7f/"})}, "not of its form"},
		"a format":             {[]device.Config{https(device.HTTP{Format: "xml", URL: "https://logs.example.dev/x"})}, "format"},
		"elastic, no index":    {[]device.Config{https(device.HTTP{Format: "elastic", URL: "https://logs.example.dev"})}, "index"},
		"elastic, a bad index": {[]device.Config{https(device.HTTP{Format: "elastic", URL: "https://logs.example.dev", Index: "../x"})}, "index"},
	} {
		_, err := device.Open(c.configs, "host1")
		if vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path, Sync: true}})
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, line(1), line(2))
	write(t, s, line(3))
	want := []string{line(1).String() + "\n", line(2).String() + "\n", line(3).String() + "\n"}
	if got := content(t, path, 3); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, f := range []string{path, path + ".reserve"} {
		if fi, err := os.Stat(f); err != nil || runtime.GOOS != "windows" && fi.Mode() != 0o600 {
			t.Errorf("%v, %v", fi, err)
		}
	}
	if fi, err := os.Stat(path + ".reserve"); err != nil || fi.Size() != device.DefaultReserve {
		t.Errorf("the reserve: %v, %v", fi, err)
	}
	h := s.Health()
	if len(h) != 1 || h[0].Written != 3 || h[0].Problem != "" || h[0].Low || h[0].Last.IsZero() || h[0].Name != "file" || h[0].Type != "file" || !h[0].Required {
		t.Errorf("%+v", h)
	}
}

func TestFileNeverExecutable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes of files are of no meaning here")
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path, Mode: 0o4755, Reserve: -1}})
	write(t, s, line(1))
	if fi, err := os.Stat(path); err != nil || fi.Mode()&^0o644 != 0 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := os.Stat(path + ".reserve"); !os.IsNotExist(err) {
		t.Errorf("a reserve that was not asked for: %v", err)
	}
}

// A file that was renamed or deleted is noticed, and by Reopen at once.
func TestFileIsOpenedAnew(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file is neither renamed nor deleted here")
	}
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path, Reserve: -1}})
	write(t, s, line(1))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	write(t, s, line(2))
	if got := content(t, path, 1); got[0] != line(2).String()+"\n" {
		t.Errorf("%q", got)
	}
	for n, away := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Rename(path, path+".2") },
		func() error { return os.Rename(path+".1", path) }, // another file in its place
	} {
		if err := away(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // it looks once a second
		write(t, s, line(10+n))
		raw, err := os.ReadFile(path)
		if err != nil || !strings.HasSuffix(string(raw), line(10+n).String()+"\n") {
			t.Errorf("%d: %q, %v", n, raw, err)
		}
	}
}

// A server that was killed in the middle of a line goes on with a line of its own.
func TestFileWithAPartOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("{\"auth\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path}})
	write(t, s, line(1))
	if got := content(t, path, 2); got[1] != line(1).String()+"\n" {
		t.Errorf("%q", got)
	}
}

func TestFileThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		path string
		says []string
	}{
		"no folder": {filepath.Join(dir, "missing", "audit.log"), []string{"audit device main: open audit.log: "}},
		"a folder":  {dir, []string{"audit device main: "}},
	} {
		s := open(t, device.Config{Name: "main", Required: true, Deadline: patient, File: &device.File{Path: c.path}})
		for _, err := range []error{s.Write(t.Context(), line(1)), s.Check(t.Context())} {
			if vault.KindOf(err) != vault.KindUnavailable {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%s: %v, want %q", name, err, says)
				}
			}
		}
		if h := s.Health()[0]; h.Problem == "" || h.Since.IsZero() || h.Refused != 1 || h.Written != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// What was wrong and is right again is not held against a device.
func TestFileRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "audit.log")
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path}})
	if err := s.Write(t.Context(), line(1)); err == nil {
		t.Fatal("written to a folder that is not there")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, s, line(2))
	content(t, path, 1)
	if h := s.Health()[0]; h.Problem != "" || !h.Since.IsZero() || h.Refused != 1 || h.Written != 1 {
		t.Errorf("%+v", h)
	}
}

func TestWritersAreBatchedInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path}})
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := range 50 {
				if err := s.Write(context.Background(), line(w*1000+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last := map[string]int{}
	for _, l := range content(t, path, 1000) {
		e, err := audit.Parse([]byte(strings.TrimSuffix(l, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(e.Request.ID, "id-%d", &n); err != nil {
			t.Fatal(err)
		}
		w := fmt.Sprint(n / 1000)
		if n%1000 != last[w] {
			t.Fatalf("line %d of writer %s comes when %d should", n%1000, w, last[w])
		}
		last[w]++
	}
}

// silent is a listener that takes connections and nothing else.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().String()
}

// A required device that hangs refuses requests, at once from the second on,
// and the others have their lines all the same.
func TestOneThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t,
		device.Config{Name: "collector", Required: true, Deadline: 200 * time.Millisecond, Syslog: &device.Syslog{Network: "tls", Address: silent(t)}},
		device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path}},
	)
	for n := range 5 {
		err := s.Write(t.Context(), line(n))
		if vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device collector: ") {
			t.Errorf("%d: %v", n, err)
		}
		content(t, path, n+1)
	}
	h := s.Health()
	if h[0].Problem == "" || h[0].Refused != 5 || h[0].Written != 0 || h[1].Problem != "" || h[1].Written != 5 {
		t.Errorf("%+v", h)
	}
}

// One that is best effort does not matter to the request, hanging or not there.
func TestBestEffort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t,
		device.Config{Name: "hangs", Deadline: patient, Syslog: &device.Syslog{Network: "tls", Address: silent(t)}},
		device.Config{Name: "missing", Deadline: patient, File: &device.File{Path: filepath.Join(t.TempDir(), "x", "y")}},
		device.Config{Name: "file", Required: true, Deadline: patient, File: &device.File{Path: path}},
	)
	for n := range 10 {
		write(t, s, line(n))
	}
	content(t, path, 10)
	if h := s.Health(); h[0].Written != 0 || h[1].Written != 0 || h[2].Written != 10 || h[0].Refused+h[1].Refused != 0 {
		t.Errorf("%+v", h)
	}
}

// What a best-effort device did not take is sent when it is there, in order.
func TestBestEffortCatchesUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "audit.log")
	s := open(t, device.Config{Name: "file", Deadline: patient, File: &device.File{Path: path}})
	for n := range 5 {
		write(t, s, line(n))
	}
	for end := time.Now().Add(patient); s.Health()[0].Problem == "" && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if h := s.Health()[0]; !strings.Contains(h.Problem, "open audit.log") {
		t.Errorf("%+v", h)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n, got := range content(t, path, 5) {
		if got != line(n).String()+"\n" {
			t.Errorf("line %d: %s", n, got)
		}
	}
}

// A queue has an end, and what does not fit is counted.
func TestBestEffortDrops(t *testing.T) {
	s := open(t, device.Config{Name: "hangs", Deadline: patient, Syslog: &device.Syslog{Network: "tls", Address: silent(t)}})
	const sent = 5000
	for n := range sent {
		write(t, s, line(n))
	}
	// A batch of 256 at most, and one more, are with the device.
	if h := s.Health()[0]; h.Dropped == 0 || int(h.Dropped)+h.Waiting > sent || int(h.Dropped)+h.Waiting < sent-257 {
		t.Errorf("%+v", h)
	}
}

func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s, err := device.Open([]device.Config{
		{Name: "file", Deadline: patient, File: &device.File{Path: path}},
		{Name: "missing", Deadline: patient, File: &device.File{Path: filepath.Join(t.TempDir(), "x", "y")}},
	}, "host1")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		write(t, s, line(n))
	}
	err = s.Close(t.Context())
	content(t, path, 100)
	if err == nil || !strings.Contains(err.Error(), "audit device missing: 100 lines were not taken") || strings.Contains(err.Error(), "device file") {
		t.Errorf("%v", err)
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	s := open(t, device.Config{Name: "hangs", Required: true, Deadline: patient, Syslog: &device.Syslog{Network: "tls", Address: silent(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := s.Write(ctx, line(1)); err == nil || !strings.Contains(err.Error(), "audit device hangs") {
		t.Errorf("%v", err)
	}
}

func TestNoDevices(t *testing.T) {
	s := open(t)
	write(t, s, line(1))
	s.Reopen()
	if err := s.Check(t.Context()); err != nil || len(s.Health()) != 0 {
		t.Error(err)
	}
}
