package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/sqlstore"
)

// together is what GetMany says of paths, as shows says it of one.
func (b *bench) together(paths ...string) (all []string) {
	b.t.Helper()
	b.read(func(tx *sqlstore.Tx) error {
		room := 1 << 20
		found, err := b.m.GetMany(tx, paths, &room)
		all = opened(b, tx, found)
		return err
	})
	return all
}

func opened(b *bench, tx *sqlstore.Tx, found []kv.Found) (all []string) {
	b.t.Helper()
	for i := range found {
		f := &found[i]
		if f.Err != nil {
			all = append(all, vault.KindOf(f.Err).String())
			continue
		}
		v, err := f.Open(tx)
		switch {
		case err != nil:
			all = append(all, vault.KindOf(err).String())
		case v.Destroyed:
			all = append(all, "destroyed")
		case !v.Readable:
			all = append(all, "deleted")
		default:
			all = append(all, string(v.Data.Reveal()))
		}
	}
	return all
}

// GetMany says of each path what Get says of it, for few and for many.
func TestGetMany(t *testing.T) {
	both(t, func(t *testing.T, newBench func(testing.TB) *bench) {
		b := newBench(t)
		other := b.mount("m2")
		var paths []string
		for i := range 300 {
			path := fmt.Sprintf("app/%03d", i)
			b.mustPut(path, fmt.Sprintf(`{"n":%d}`, i))
			paths = append(paths, path)
		}
		b.mustPut("app/007", `{"n":"again"}`)
		b.write(func(tx *sqlstore.Tx) error {
			return errors.Join(b.m.Delete(tx, "app/001", kv.Actor{}), b.m.Destroy(tx, "app/002", []int64{1}, kv.Actor{}), b.m.DeleteMeta(tx, "app/003"))
		})
		b.write(func(tx *sqlstore.Tx) error {
			_, err := other.Put(tx, "elsewhere", vault.NewValueString(`{}`), kv.Write{})
			return err
		})
		paths = append(paths, "absent", "elsewhere", "a//b", "app/007", "")
		for _, n := range []int{1, 2, 8, 9, 32, 33, 200, len(paths)} {
			some := paths[len(paths)-n:]
			var want []string
			for _, path := range some {
				want = append(want, b.shows(path, 0))
			}
			if got := b.together(some...); !slices.Equal(got, want) {
				t.Errorf("of %d: %q\nwant %q", n, got, want)
			}
		}
		if got := b.together(); len(got) != 0 {
			t.Errorf("of none: %q", got)
		}
		err := b.db.Read(context.Background(), func(tx *sqlstore.Tx) error {
			room := 100
			_, err := b.m.GetMany(tx, paths, &room)
			return err
		})
		if !errors.Is(err, kv.ErrTooLong) {
			t.Errorf("without room: %v", err)
		}
	})
}

// Names walks through all there is at and below a path, page by page, in order.
func TestNames(t *testing.T) {
	both(t, func(t *testing.T, newBench func(testing.TB) *bench) {
		b := newBench(t)
		all := []string{"a", "a/b", "a/b/c", "a-b", "a.b", "a/z", "b", "ü", "ü/x"}
		for _, path := range all {
			b.mustPut(path, `{"path":"`+path+`"}`)
		}
		slices.Sort(all)
		for _, prefix := range []string{"", "a", "a/b", "ü", "none"} {
			var want []string
			for _, path := range all {
				if prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/") {
					want = append(want, path)
				}
			}
			for _, limit := range []int{1, 2, 3, 100} {
				for _, room := range []int{1, 400, 1 << 20} {
					var got []string
					for after, more := "", true; more; {
						b.read(func(tx *sqlstore.Tx) (err error) {
							var found []kv.Found
							found, more, err = b.m.Names(tx, prefix, after, limit, room)
							for i, text := range opened(b, tx, found) {
								if after = found[i].Path; text != `{"path":"`+after+`"}` {
									t.Errorf("%s: %s", after, text)
								}
								got = append(got, after)
							}
							if more && len(found) == 0 {
								t.Fatal("a page without names that is not the last")
							}
							return err
						})
					}
					if !slices.Equal(got, want) {
						t.Errorf("below %q, %d at a time: %q, want %q", prefix, limit, got, want)
					}
				}
			}
		}
	})
}
