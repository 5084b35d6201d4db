package session

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"envrun/auth/private"
)

// A Holder is who is signing in now.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Started time.Time `json:"started"`
}

const loginName = "login"

// LockLogin lets one process at a time sign somebody in. It does not wait: if
// another one does, unlock is nil and held says who, as far as it is known. A sign-in
// waits for a person, so the caller says so and calls AwaitLogin, or gives up.
func (s *Store) LockLogin(context.Context) (unlock func(), held *Holder, err error) {
	if err := s.ours(); err != nil {
		return nil, nil, err
	}
	if err := private.MakeDir(s.Dir); err != nil {
		return nil, nil, err
	}
	release, err := private.TryLock(filepath.Join(s.Dir, loginName+".lock"))
	file := filepath.Join(s.Dir, loginName+".json")
	if errors.Is(err, private.ErrBusy) {
		held = &Holder{}
		if text, err := private.Read(file, 0o600, maxField); err == nil {
			_ = json.Unmarshal(text, held) // it only informs
		}
		held.Host = clean(held.Host)
		return nil, held, nil
	}
	if err != nil {
		return nil, nil, err
	}
	private.Sweep(s.Dir, loginName)
	text, _ := json.Marshal(Holder{os.Getpid(), hostname(), s.now().UTC().Truncate(time.Second)})
	_ = private.WriteSoon(file, text)
	return func() {
		_ = private.Remove(file)
		release()
	}, nil, nil
}

// AwaitLogin is LockLogin that waits until ctx ends.
func (s *Store) AwaitLogin(ctx context.Context) (unlock func(), err error) {
	for {
		unlock, held, err := s.LockLogin(ctx)
		if err != nil || held == nil {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
