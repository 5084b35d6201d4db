package kv_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
)

// Random patches on random secrets do what RFC 7396 says, as it is written there.
func TestRandomPatches(t *testing.T) {
	db, err := sqlite.OpenMemory(context.Background())
	b := benchOn(t, db, err, "sqlite", "")
	r := rand.New(rand.NewPCG(7, 396))
	for i := range 300 {
		into, patch := randomObject(r, 3), randomObject(r, 3)
		b.mustPut("a", text(t, into))
		b.write(func(tx *sqlstore.Tx) error {
			_, err := b.m.Patch(tx, "a", vault.NewValueString(text(t, patch)), kv.Write{})
			return err
		})
		var have any
		if err := json.Unmarshal([]byte(b.shows("a", 0)), &have); err != nil {
			t.Fatal(err)
		}
		if want := mergePatch(into, patch); !reflect.DeepEqual(have, want) {
			t.Fatalf("%d: %s patched with %s is %s, not %s", i, text(t, into), text(t, patch), text(t, have), text(t, want))
		}
	}
}

// mergePatch is the pseudocode of RFC 7396 §2.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	o, ok := target.(map[string]any)
	if !ok {
		o = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(o, name)
		} else {
			o[name] = mergePatch(o[name], value)
		}
	}
	return o
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	o := map[string]any{}
	for range r.IntN(5) {
		o[string(rune('a'+r.IntN(4)))] = randomValue(r, depth-1)
	}
	return o
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.IntN(7); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return float64(r.IntN(100))
	case n == 3:
		return fmt.Sprint("<&>", r.IntN(100))
	case n == 4:
		return []any{float64(r.IntN(9)), nil, map[string]any{"x": nil}}
	case depth > 0:
		return randomObject(r, depth)
	}
	return "leaf"
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
