package redact_test

import (
	"slices"
	"strings"
	"testing"

	"envrun/envrun/redact"
	"envrun/vault"
)

func TestWordsAreSorted(t *testing.T) {
	words := strings.Split(strings.TrimSuffix(redact.Words(), "\n"), "\n")
	if !slices.IsSorted(words) {
		t.Error("words.txt is not sorted by bytes")
	}
	if len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("words.txt has a word twice")
	}
	for _, w := range words {
		if w != strings.ToLower(strings.TrimSpace(w)) || w == "" {
			t.Errorf("%q is not a lower-case word", w)
		}
		m := redact.New([]redact.Secret{{Name: "W", Value: vault.NewValueString(w)}})
		if s := m.Skipped(); len(s) != 1 {
			t.Errorf("%q is masked", w)
		}
	}
}

func TestSkipped(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		value string
		mask  *bool
		want  redact.Reason // "" for masked
	}{
		{"", nil, redact.ReasonEmpty},
		{" \r\n\t ", nil, redact.ReasonEmpty},
		{"", &yes, redact.ReasonEmpty},
		{"1234567", nil, redact.ReasonShort},
		{"1234567\n\n", nil, redact.ReasonShort},
		{"12345678", nil, ""},
		{"true", nil, redact.ReasonShort},
		{"null", nil, redact.ReasonShort},
		{"localhost", nil, redact.ReasonCommon},
		{"LocalHost", nil, redact.ReasonCommon},
		{"http://localhost:3000/", nil, redact.ReasonCommon},
		{"redis://127.0.0.1:6379", nil, redact.ReasonCommon},
		{"localhost:8080", nil, redact.ReasonCommon},
		{"localhost:8080x", nil, ""},
		{"https://localhost:3000/path", nil, ""},
		{"production", nil, redact.ReasonCommon},
		{"development\n", nil, redact.ReasonCommon},
		{"password", nil, redact.ReasonCommon},
		{"changeme", nil, redact.ReasonCommon},
		{"us-east-1", nil, redact.ReasonCommon},
		{"production", &yes, ""},
		{"on", &yes, redact.ReasonTiny},
		{"off", &yes, ""},
		{"a-real-secret-value", &no, redact.ReasonOff},
		{"", &no, redact.ReasonOff},
		{strings.Repeat("0123456789abcdef", 1<<10), nil, ""},
		{strings.Repeat("0123456789abcdef", 1<<15), nil, redact.ReasonLarge},
	}
	for _, tt := range tests {
		m := redact.New([]redact.Secret{{Name: "NAME", Value: vault.NewValueString(tt.value), Mask: tt.mask}})
		got := redact.Reason("")
		for _, s := range m.Skipped() {
			got = s.Reason
			if s.Name != "NAME" || s.Partly != (s.Reason == redact.ReasonLarge) {
				t.Errorf("%.40q: Skipped %+v", tt.value, s)
			}
		}
		if got != tt.want {
			t.Errorf("%.40q, mask %v: skipped for %q, want %q", tt.value, tt.mask, got, tt.want)
		}
		text := "a " + strings.TrimSpace(tt.value) + " b"
		want := text
		if tt.want == "" || tt.want == redact.ReasonLarge {
			want = "a [NAME] b"
		}
		if got := string(m.Bytes([]byte(text))); got != want {
			t.Errorf("%.40q: output %.80q, want %.80q", tt.value, got, want)
		}
	}
}
