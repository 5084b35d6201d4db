package session_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"envrun/auth/session"
)

// What is read is written again in the same words, and nothing makes it panic.
func FuzzIndex(f *testing.F) {
	s, _ := newStore(f)
	other := someone
	other.Role = "prod"
	put(f, s, someone, aRecord())
	put(f, s, other, aRecord())
	text, err := os.ReadFile(filepath.Join(s.Dir, "accounts.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"accounts":[]}`))
	f.Add([]byte(`{"version":1,"retired":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again, accounts, err := session.ParseIndex(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 200 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		third, same, err := session.ParseIndex(again)
		if err != nil || !bytes.Equal(third, again) || len(same) != len(accounts) {
			t.Fatalf("%q is read as\n%s and then %v", text, again, err)
		}
		for i := range accounts {
			if accounts[i] != same[i] {
				t.Errorf("%+v became %+v", accounts[i], same[i])
			}
		}
	})
}

const goldenFile = "testdata/version-1.sealed"

// A file of the first version, sealed once and for all, is read for ever.
func TestGolden(t *testing.T) {
	seal, unseal, err := session.Sealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	want := aRecord()
	want.Gen, want.Refused, want.Updated = 3, "login_required", want.Ends
	file, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unseal("id", file)
	if err != nil || !session.Same(got, want) || !got.Ends.Equal(want.Ends) || !slices.Equal(got.AMR, want.AMR) || got.Gen != 3 {
		t.Errorf("got generation %d, %v", got.Gen, err)
	}
	// Two of one record differ: the nonce is random.
	one, _ := seal("id", want)
	two, _ := seal("id", want)
	if bytes.Equal(one, two) || !bytes.Equal(one[:33], file[:33]) {
		t.Error("the header differs, or the nonce does not")
	}
}

// A file that was changed anywhere is refused.
func FuzzSealed(f *testing.F) {
	_, unseal, err := session.Sealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(goldenFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "id")
	f.Add(good[:40], "id")
	f.Add([]byte("envrunSS\x01"), "")
	f.Fuzz(func(t *testing.T, file []byte, id string) {
		r, err := unseal(id, file)
		if whole := bytes.Equal(file, good) && id == "id"; (err == nil) != whole {
			t.Errorf("read as %v, %v", r, err)
		}
		if err != nil && (!r.Token.Empty() || !r.RefreshToken.Empty()) {
			t.Error("a record comes with the error")
		}
	})
}

// What is inside is written by us alone; it is read strictly all the same.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"refresh_token":"a","refresh_obtained_at":"2026-11-23T10:00:00.005Z","token":"b","ttl_ns":-1,"renewable":true,"policies":["x"],"updated_at":"2026-11-23T10:00:00Z"}`))
	f.Add([]byte(`{"amr":["a","b"],"auth_time":"0000-01-01T00:00:00+01:00"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again, err := session.ParseRecord(text)
		if err != nil {
			return
		}
		if third, err := session.ParseRecord(again); err != nil || !bytes.Equal(third, again) {
			t.Errorf("%q is read as %q and then %q, %v", text, again, third, err)
		}
	})
}
