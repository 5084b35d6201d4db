package audit_test

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

func TestShown(t *testing.T) {
	for _, s := range []audit.Shown{
		{Key: "srv/audit+0a1b2c3d+AYw=", Note: []byte("srv/audit\n0\n\n\n— x\n")},
		{Key: "k", Note: []byte("n"), Growth: tlog.TreeProof{{1}, {2}, {3}}},
	} {
		text := s.Header()
		if strings.TrimSpace(text) != text || strings.ContainsAny(text, "\r\n") {
			t.Errorf("%q is no header", text)
		}
		if got, err := audit.ParseShown(text); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "a key": "k", "no note": "k ", "no base64": "k !", "half a hash": "k bm90ZQ== AAAA", "more": "k bm90ZQ== AAAA AAAA",
		"long": "k " + strings.Repeat("AAAA", 3000),
	} {
		if _, err := audit.ParseShown(text); vault.KindOf(err) != vault.KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzShown(f *testing.F) {
	f.Add(audit.Shown{Key: "k", Note: []byte("n"), Growth: tlog.TreeProof{{1}}}.Header())
	f.Fuzz(func(t *testing.T, text string) {
		s, err := audit.ParseShown(text)
		if err != nil {
			return
		}
		if again, err := audit.ParseShown(s.Header()); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q: %+v, %+v, %v", text, s, again, err)
		}
	})
}
