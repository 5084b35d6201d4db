package session_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/session"
)

type (
	record = session.Record
	saving = func(session.Record) error
)

func TestFresh(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())

	t.Run("not needed", func(t *testing.T) {
		r, err := s.Fresh(t.Context(), a.ID, nil, func(record) bool { return false })
		if err != nil || r.Gen != 1 {
			t.Errorf("generation %d, %v", r.Gen, err)
		}
		if _, err := os.Stat(filepath.Join(s.Dir, "locks")); err == nil {
			t.Error("it took a lock")
		}
	})
	t.Run("unknown", func(t *testing.T) {
		if _, err := s.Fresh(t.Context(), "nobody", nil, stale); !errors.Is(err, session.ErrNoAccount) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("fails", func(t *testing.T) {
		failure := errors.New("the issuer is away")
		if _, err := s.Fresh(t.Context(), a.ID, func(context.Context, record, saving) (record, error) {
			return record{Token: auth.NewSecret("half")}, failure
		}, stale); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
		if r := open(t, again(s), a.ID); r.Gen != 1 || !stale(r) {
			t.Errorf("generation %d", r.Gen)
		}
	})
	t.Run("saved before the rest fails", func(t *testing.T) {
		failure := errors.New("the server is away")
		if _, err := s.Fresh(t.Context(), a.ID, func(_ context.Context, was record, save saving) (record, error) {
			was.RefreshToken = auth.NewSecret("second")
			if err := save(was); err != nil {
				return was, err
			}
			if r := open(t, again(s), a.ID); r.RefreshToken.Reveal() != "second" || r.Gen != 2 {
				t.Errorf("it is not on the disk: generation %d", r.Gen)
			}
			return was, failure
		}, stale); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nothing changes", func(t *testing.T) {
		r, err := s.Fresh(t.Context(), a.ID, func(_ context.Context, was record, save saving) (record, error) {
			return was, save(was)
		}, stale)
		if err != nil || r.Gen != 2 {
			t.Errorf("generation %d, %v", r.Gen, err)
		}
	})
	t.Run("cut short, and saved all the same", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := s.Fresh(ctx, a.ID, func(_ context.Context, was record, save saving) (record, error) {
			cancel()
			was.Token, was.Ends = auth.NewSecret("new"), was.Ends.Add(time.Hour)
			return was, nil
		}, stale)
		if err != nil || r.Gen != 3 || open(t, again(s), a.ID).Token.Reveal() != "new" {
			t.Errorf("generation %d, %v", r.Gen, err)
		}
		all := accounts(t, s)
		if !all[0].Used.Equal(r.Updated) || !all[0].Created.Equal(a.Created) {
			t.Errorf("got %+v", all[0])
		}
	})
	t.Run("cannot be kept", func(t *testing.T) {
		r, err := s.Fresh(t.Context(), a.ID, func(_ context.Context, was record, save saving) (record, error) {
			was.Token, was.Accessor = auth.NewSecret("newer"), string(make([]byte, 2<<20))
			return was, nil
		}, func(record) bool { return true })
		if err == nil || r.Token.Reveal() != "newer" {
			t.Errorf("got %v", err)
		}
		if r := open(t, again(s), a.ID); r.Token.Reveal() != "new" {
			t.Errorf("generation %d", r.Gen)
		}
	})
}

func TestRefused(t *testing.T) {
	s, _ := newStore(t)
	r := aRecord()
	r.Ends = time.Now().Add(time.Hour)
	a := put(t, s, someone, r)
	refusal := errors.New("invalid_grant")
	if _, err := s.Fresh(t.Context(), a.ID, func(_ context.Context, was record, save saving) (record, error) {
		was.Refused = "the refresh token was revoked"
		return was, errors.Join(refusal, save(was))
	}, stale); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	// The token lives, and can be renewed at the server.
	called := false
	if _, err := s.Fresh(t.Context(), a.ID, func(_ context.Context, was record, _ saving) (record, error) {
		called = true
		return was, nil
	}, stale); err != nil || !called {
		t.Errorf("called %v, got %v", called, err)
	}
	// When it does not, nobody is asked again.
	s.Now = func() time.Time { return r.Ends }
	for range 2 {
		_, err := s.Fresh(t.Context(), a.ID, nil, stale)
		var ended *session.EndedError
		if !errors.As(err, &ended) || ended.Why != "the refresh token was revoked" || ended.Account.ID != a.ID {
			t.Errorf("got %v", err)
		}
		refused(t, "refused", err)
	}
	if got := open(t, s, a.ID); got.Refused == "" || got.RefreshToken.Empty() {
		t.Error("the record is not kept")
	}
	s.Now = nil
	put(t, s, someone, aRecord())
	if got := open(t, s, a.ID); got.Refused != "" {
		t.Error("a new sign-in is refused as well")
	}
}

// Many goroutines of one process, of one store and of several, renew once.
func TestGoroutines(t *testing.T) {
	for _, keep := range []string{"", session.InMemory} {
		s, _ := newStore(t)
		s.Keep = keep
		a := put(t, s, someone, aRecord())
		var renewed atomic.Int32
		var wg sync.WaitGroup
		for i := range 24 {
			mine := s
			if i%3 == 0 && keep == "" {
				mine = again(s)
			}
			wg.Go(func() {
				r, err := mine.Fresh(t.Context(), a.ID, func(ctx context.Context, was record, save saving) (record, error) {
					renewed.Add(1)
					return task{}.renew(ctx, was, save)
				}, stale)
				if err != nil || stale(r) || r.Gen != 3 {
					t.Errorf("generation %d, %v", r.Gen, err)
				}
			})
			wg.Go(func() {
				if _, _, err := mine.Open(t.Context(), a.ID); err != nil {
					t.Error(err)
				}
				if _, err := mine.Accounts(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := renewed.Load(); n != 1 {
			t.Errorf("renewed %d times", n)
		}
	}
}

// Sign-ins, sign-outs and readers at once: whoever reads finds a whole session or none.
func TestAllAtOnce(t *testing.T) {
	s, c := newStore(t)
	other := someone
	other.Role = "prod"
	a := put(t, s, someone, aRecord())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s := again(s)
			for range 10 {
				if _, err := s.Put(t.Context(), someone, aRecord()); err != nil {
					t.Error(err)
				}
				if b, err := s.Put(t.Context(), other, aRecord()); err != nil {
					t.Error(err)
				} else if err := s.Delete(t.Context(), b.ID); err != nil && !errors.Is(err, session.ErrNoAccount) {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), a.ID); err != nil && !errors.Is(err, session.ErrNoAccount) {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			s := again(s)
			for range 60 {
				if _, r, err := s.Open(t.Context(), a.ID); err != nil && !errors.Is(err, session.ErrNoAccount) {
					t.Error(err)
				} else if err == nil && !stale(r) {
					t.Error("another record")
				}
			}
		})
	}
	wg.Wait()
	for _, a := range accounts(t, s) {
		if err := s.Delete(t.Context(), a.ID); err != nil {
			t.Error(err)
		}
	}
	if len(files(t, s.Dir)) > 0 || len(c.Holds(t)) > 0 {
		t.Errorf("it leaves %v %v", files(t, s.Dir), c.Holds(t))
	}
}

func TestLockLogin(t *testing.T) {
	s, _ := newStore(t)
	unlock, held, err := s.LockLogin(t.Context())
	if err != nil || held != nil {
		t.Fatalf("got %v, %v", held, err)
	}
	no, held, err := again(s).LockLogin(t.Context())
	if err != nil || no != nil || held == nil || held.PID != os.Getpid() || held.Host == "" || held.Started.IsZero() {
		t.Errorf("got %+v, %v", held, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := again(s).AwaitLogin(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	time.AfterFunc(10*time.Millisecond, unlock)
	unlock, err = again(s).AwaitLogin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if left := files(t, s.Dir); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// What `envrun -- CMD` pays for a session that is valid.
func BenchmarkAccounts(b *testing.B) {
	s, _ := newStore(b)
	for _, role := range []string{"dev", "staging", "prod"} {
		a := someone
		a.Role = role
		put(b, s, a, aRecord())
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Accounts(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, _ := newStore(b)
	a := put(b, s, someone, aRecord())
	b.Run("first in a process", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			open(b, again(s), a.ID)
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			open(b, s, a.ID)
		}
	})
}
