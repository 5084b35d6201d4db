package agekey_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"envrun/auth/agekey"
)

var someFacts = agekey.Facts{
	Member:    "alice@laptop",
	Recipient: classicRecipient,
	Store:     "secret-service",
	Key:       "identity-abc",
	Created:   time.Date(2026, 2, 11, 9, 14, 3, 0, time.UTC),
	Leftover:  []string{"file", "pass:identity-x"},
}

const someText = `# envrun: facts about your identity. The secret is in the store that is named here.
member = "alice@laptop"
recipient = "` + classicRecipient + `"
store = "secret-service"
key = "identity-abc"
created = "2026-02-11T09:14:03Z"
leftover = "file pass:identity-x"
`

func TestFacts(t *testing.T) {
	if got := string(someFacts.Marshal()); got != someText {
		t.Errorf("got:\n%s", got)
	}
	for _, text := range []string{
		someText,
		strings.ReplaceAll(someText, "\n", "\r\n"),
		strings.ReplaceAll(someText, " = ", "="),
		"\n# x\n" + strings.ReplaceAll(someText, "\"\n", "\"   # mine\n"),
	} {
		got, err := agekey.ParseFacts([]byte(text))
		if err != nil || !reflect.DeepEqual(got, someFacts) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

// What we write, a TOML library reads as the same.
func TestFactsAreTOML(t *testing.T) {
	var got map[string]string
	if err := toml.Unmarshal(someFacts.Marshal(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"member": "alice@laptop", "recipient": classicRecipient, "store": "secret-service",
		"key": "identity-abc", "created": "2026-02-11T09:14:03Z", "leftover": "file pass:identity-x"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestFactsRefused(t *testing.T) {
	for _, test := range []struct {
		text string
		line int
		want string
	}{
		{"", 0, "which store"},
		{"# nothing\n", 0, "which store"},
		{"store = \"file\"\nmember alice", 2, "form"},
		{"store = file", 1, "form"},
		{"store = 'file'", 1, "form"},
		{"store = \"file", 1, "form"},
		{"store = \"file\" x", 1, "form"},
		{"= \"file\"", 1, "unknown"},
		{"[table]", 1, "form"},
		{"store = \"file\"\n\nstores = \"file\"", 3, "unknown"},
		{"store = \"file\"\nstore = \"pass\"", 2, "twice"},
		{"store = \"file\"\nmember = \"a\\nb\"", 2, "backslashes"},
		{"store = \"file\"\nmember = \"ä\"", 2, "ASCII"},
		{"store = \"file\"\nmember = \"a\tb\"", 2, "ASCII"},
		{"store = \"file\"\ncreated = \"yesterday\"", 2, "no time"},
		{"store = \"a b\"\nkey = \"k\"", 0, "no store"},
		{"store = \"file\"\nkey = \"k\"", 0, "key"},
		{"store = \"pass\"", 0, "key"},
		{"store = \"file\"\nmember = \"" + strings.Repeat("m", 129) + "\"", 0, "128"},
		{"store = \"file\"\n" + strings.Repeat("#\n", 20000), 0, "longer"},
	} {
		_, err := agekey.ParseFacts([]byte(test.text))
		var bad *agekey.ParseError
		if !errors.As(err, &bad) || bad.Line != test.line || !strings.Contains(bad.Reason, test.want) {
			t.Errorf("%.60q: got %v, want line %d, %q", test.text, err, test.line, test.want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add([]byte(someText))
	for _, s := range []string{"store = \"file\"", "store=\"file\"#", "store = \"pass\"\nkey = \"k\"\r\ncreated = \"0001-01-01T00:00:00Z\"",
		"store = \"file\"\nleftover = \" a  b \"", "created = \"9999-12-31T23:59:59+23:59\"\nstore = \"file\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		facts, err := agekey.ParseFacts(text)
		if err != nil {
			return
		}
		again, err := agekey.ParseFacts(facts.Marshal())
		if err != nil || !reflect.DeepEqual(again, facts) {
			t.Fatalf("%+v\nbecomes %+v, %v", facts, again, err)
		}
		if string(again.Marshal()) != string(facts.Marshal()) {
			t.Fatal("is written in two ways")
		}
	})
}
