package sqlstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/vault/sqlite"
)

// A database that is closed has no file open: its disk can be taken away.
func TestCloseLetsGo(t *testing.T) {
	dir := t.TempDir()
	db, err := sqlite.Open(ctx, filepath.Join(dir, "data.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(ctx, put("a")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, db, "a")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			t.Errorf("%s is open", to)
		}
	}
}
