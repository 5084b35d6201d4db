package engine_test

import (
	"bytes"
	"slices"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// FuzzRecord puts any bytes in the place of a secret: what is handed out is one
// of the two versions that the seal allows, whole, and nothing else.
func FuzzRecord(f *testing.F) {
	s := newScene(f)
	for _, raw := range s.raw {
		f.Add(raw)
	}
	f.Add(bytes.ReplaceAll(s.raw["app 4"], []byte("\n"), []byte("\r\n")))
	before := s.Memory.Snapshot()
	f.Fuzz(func(t *testing.T, raw []byte) {
		s.Memory.Poke(dev, "app", raw)
		defer s.Memory.Restore(before)
		got, err := s.Get(t.Context(), dev, "app")
		text := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		genuine := bytes.Equal(text, s.raw["app 3"]) || bytes.Equal(text, s.raw["app 4"])
		if genuine != (err == nil) {
			t.Errorf("genuine %v, and %v", genuine, err)
		}
		if err != nil {
			switch vault.KindOf(err) {
			case vault.KindTampered, vault.KindMalformed, vault.KindUnmerged, vault.KindVersion:
			default:
				t.Errorf("an error of kind %v: %v", vault.KindOf(err), err)
			}
			if len(got.Values) > 0 {
				t.Error("values beside an error")
			}
		}
	})
}

// FuzzSeal puts any bytes in the place of the seal: nothing is read under one
// that a holder of the key did not make.
func FuzzSeal(f *testing.F) {
	s := newScene(f)
	for _, raw := range append(slices.Clone(s.seals), s.Memory.PeekBlob(prod, engine.SealBlob), s.raw["app 4"]) {
		f.Add(raw)
	}
	before := s.Memory.Snapshot()
	f.Fuzz(func(t *testing.T, raw []byte) {
		s.Memory.PokeBlob(dev, engine.SealBlob, raw)
		defer s.Memory.Restore(before)
		_, err := s.Get(t.Context(), dev, "db")
		text := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		genuine := bytes.Equal(text, s.seals[0]) || bytes.Equal(text, s.seals[1])
		if signed, perr := record.ParseSeal(raw); perr == nil && len(signed.Sigs) > 0 {
			return // sig lines stand below the MAC, and are not checked yet
		}
		if genuine != (err == nil) {
			t.Errorf("genuine %v, and %v", genuine, err)
		}
		for range s.VerifyForm(t.Context(), dev) {
		}
	})
}
