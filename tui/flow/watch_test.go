package flow_test

import (
	"bytes"
	"context"
	"iter"
	"testing"

	"envrun/tui"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

// What somebody else writes comes into view by itself. The row that one is at stays
// the one, and so does what is typed to filter by.
func TestNamesOfOthers(t *testing.T) {
	v := vaulttest.New(t, "dev", "prod")
	notices := make(chan vault.Notice)
	f := startOn(t, v, func(c *tui.Config) {
		c.Watch = func(ctx context.Context, _ vault.Env) iter.Seq2[vault.Notice, error] {
			return func(yield func(vault.Notice, error) bool) {
				for {
					select {
					case n := <-notices:
						if !yield(n, nil) {
							return
						}
					case <-ctx.Done():
						return
					}
				}
			}
		}
	})
	f.sees("STRIPE_KEY")
	f.press('j')
	write := func(path vault.Path, name vault.FieldName) {
		t.Helper()
		if _, err := v.Apply(t.Context(), "dev", []vault.Change{{Path: path, Was: vault.Any, Set: []vault.Field{{Name: name, Value: vault.NewValueString("FAKE-x")}}}}); err != nil {
			t.Fatal(err)
		}
		notices <- vault.Notice{Path: path, Version: 1}
	}
	write("aaa", "FIRST_ONE")
	f.sees("FIRST_ONE")
	f.Type("v")
	f.sees(value)
	f.Type("v")

	f.Type("/one")
	write("bbb", "THIRD_WITHOUT")
	write("ccc", "SECOND_ONE")
	f.sees("SECOND_ONE")
	if bytes.Contains(f.all.Bytes(), []byte("THIRD_WITHOUT")) {
		t.Error("the filter is gone")
	}
}
