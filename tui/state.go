package tui

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// state is what is remembered between starts: these fields, and nothing else
// ever. No filter, no name that was looked at, no value (R13). Whoever can write
// the file can turn share mode off and choose another first environment; both
// are on the screen from the first picture on.
type state struct {
	Env   string `json:"env,omitempty"`
	Theme string `json:"theme,omitempty"`
	Tree  bool   `json:"tree,omitempty"`
	Share bool   `json:"share,omitempty"`

	HideNames bool `json:"hide_names,omitempty"` // in share mode
}

const stateMax = 4 << 10

// loadState reads what was remembered. What cannot be read is nothing.
func loadState(file string) (s state) {
	if file == "" {
		return s
	}
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > stateMax {
		return s
	}
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &s) != nil {
		return state{}
	}
	return s
}

// save writes the file whole: beside it, mode 0600, synced, and renamed.
func (s state) save(file string) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tui-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
