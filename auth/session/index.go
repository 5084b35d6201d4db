package session

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"envrun/auth/private"
	"envrun/auth/strictjson"
)

// index is accounts.json. Who can write it can make us ask another keychain for
// another key, which opens none of the files.
type index struct {
	place   place
	retired uint64 // the newest generation of a session that was deleted
	entries []entry
}

// entry is a session; gen is the newest that was kept of it.
type entry struct {
	Account
	gen uint64
}

// place is where the key is. The zero place: there is none yet.
type place struct {
	Name string   // of a keychain, or ByPassphrase
	Key  string   // what it is filed under there
	ID   [16]byte // of the key
	Host string   // whose keychain it is
}

const (
	indexName    = "accounts.json"
	indexVersion = 1
	maxIndex     = 4 << 20
)

func (s *Store) indexFile() string { return filepath.Join(s.Dir, indexName) }

// index reads the index; without a file it is empty.
func (s *Store) index() (index, error) {
	if err := s.ours(); err != nil {
		return index{}, err
	}
	text, err := private.Read(s.indexFile(), 0o600, maxIndex)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return index{}, nil
	case errors.Is(err, private.ErrTooLong):
		return index{}, &DamagedError{File: s.indexFile(), Reason: "is too long", Index: true}
	case err != nil:
		return index{}, err
	}
	if err := private.CheckDir(s.Dir); err != nil {
		return index{}, err
	}
	x, err := parseIndex(text)
	if err != nil {
		return index{}, &DamagedError{File: s.indexFile(), Reason: err.Error(), Index: true}
	}
	return x, nil
}

func (s *Store) writeIndex(x index) error {
	err := s.put(s.indexFile(), x.marshal())
	s.at("indexed")
	return err
}

func (x index) find(id string) int {
	for i := range x.entries {
		if x.entries[i].ID == id {
			return i
		}
	}
	return -1
}

// same reports whether two indexes say the same of a session.
func (x index) same(y index, id string) bool {
	i, j := x.find(id), y.find(id)
	return x.place == y.place && (i < 0) == (j < 0) && (i < 0 || x.entries[i] == y.entries[j])
}

type jsonIndex struct {
	Version  int           `json:"version"`
	Place    *jsonPlace    `json:"place,omitempty"`
	Retired  uint64        `json:"retired,omitempty"`
	Accounts []jsonAccount `json:"accounts"`
}

type jsonPlace struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	ID   string `json:"id"`
	Host string `json:"host,omitempty"`
}

type jsonAccount struct {
	ID        string    `json:"id"`
	Gen       uint64    `json:"generation"`
	Server    string    `json:"server"`
	Namespace string    `json:"namespace,omitempty"`
	Mount     string    `json:"mount,omitempty"`
	Role      string    `json:"role,omitempty"`
	Method    string    `json:"method"`
	Issuer    string    `json:"issuer,omitempty"`
	ClientID  string    `json:"client_id,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	Label     string    `json:"label,omitempty"`
	Keychain  string    `json:"keychain"`
	Created   time.Time `json:"created"`
	Used      time.Time `json:"used"`
}

func (x index) marshal() []byte {
	j := jsonIndex{Version: indexVersion, Retired: x.retired, Accounts: make([]jsonAccount, 0, len(x.entries))}
	if p := x.place; p.Name != "" {
		j.Place = &jsonPlace{p.Name, p.Key, hex.EncodeToString(p.ID[:]), p.Host}
	}
	for _, e := range x.entries {
		j.Accounts = append(j.Accounts, jsonAccount{e.ID, e.gen, e.Server, e.Namespace, e.Mount, e.Role, e.Method,
			e.Issuer, e.ClientID, e.Subject, e.Label, e.Keychain, utc(e.Created), utc(e.Used)})
	}
	text, _ := json.MarshalIndent(j, "", "  ") // plain values always can be
	return append(text, '\n')
}

var indexLimits = strictjson.Limits{Depth: 3, Values: 20 * (maxAccounts + 1)}

// parseIndex reads what marshal writes, and nothing else: its errors are reasons
// for a person, and quote nothing.
func parseIndex(text []byte) (index, error) {
	m, err := strictjson.Object(text, indexLimits)
	if err != nil {
		return index{}, fmt.Errorf("is not as envrun writes it: %w", err)
	}
	f := fields{m: m}
	if v := f.number("version"); f.err == nil && v != indexVersion {
		return index{}, fmt.Errorf("is of version %d, and this envrun knows %d", v, indexVersion)
	}
	x := index{retired: f.number("retired")}
	if p := f.object("place"); p != nil {
		g := fields{m: p}
		x.place = place{Name: g.text("name"), Key: g.text("key"), Host: g.text("host")}
		id, err := hex.DecodeString(g.text("id"))
		if copy(x.place.ID[:], id); err != nil || len(id) != len(x.place.ID) || x.place.Name == "" || x.place.Name == InMemory || g.end() != nil {
			return index{}, errors.New("does not say where the key is")
		}
	}
	accounts := f.objects("accounts")
	if f.end() != nil {
		return index{}, errors.New("is not as envrun writes it")
	}
	seen := make(map[string]bool, len(accounts))
	for i, m := range accounts {
		g := fields{m: m}
		e := entry{Account{
			ID: g.text("id"), Server: g.text("server"), Namespace: g.text("namespace"), Mount: g.text("mount"), Role: g.text("role"),
			Method: g.text("method"), Issuer: g.text("issuer"), ClientID: g.text("client_id"), Subject: g.text("subject"), Label: g.text("label"),
			Keychain: g.text("keychain"), Created: g.time("created"), Used: g.time("used"),
		}, g.number("generation")}
		err := g.end()
		if err == nil {
			err = e.check()
		}
		switch {
		case err != nil:
			return index{}, fmt.Errorf("entry %d: %w", i+1, err)
		case e.gen == 0:
			return index{}, fmt.Errorf("entry %d: it has no generation", i+1)
		case seen[e.ID]:
			return index{}, fmt.Errorf("entry %d: it is there twice", i+1)
		case x.place.Name == "":
			return index{}, errors.New("does not say where the key is")
		}
		seen[e.ID] = true
		x.entries = append(x.entries, e)
	}
	if len(x.entries) > maxAccounts {
		return index{}, fmt.Errorf("holds more than %d sessions", maxAccounts)
	}
	return x, nil
}

// fields takes an object apart. What is not there is the zero value; what is of
// another kind, or is left when it ends, is an error.
type fields struct {
	m   map[string]any
	err error
}

var errField = errors.New("a field is not as envrun writes it")

func (f *fields) take(name string) (any, bool) {
	v, ok := f.m[name]
	delete(f.m, name)
	return v, ok
}

func (f *fields) bad() { f.err = errField }

func (f *fields) text(name string) string {
	v, ok := f.take(name)
	s, is := v.(string)
	if ok && !is {
		f.bad()
	}
	return s
}

func (f *fields) flag(name string) bool {
	v, ok := f.take(name)
	b, is := v.(bool)
	if ok && !is {
		f.bad()
	}
	return b
}

func (f *fields) number(name string) uint64 {
	v, ok := f.take(name)
	if !ok {
		return 0
	}
	n, _ := v.(json.Number)
	u, err := strconv.ParseUint(string(n), 10, 64)
	if err != nil {
		f.bad()
	}
	return u
}

func (f *fields) duration(name string) time.Duration {
	v, ok := f.take(name)
	if !ok {
		return 0
	}
	n, _ := v.(json.Number)
	d, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		f.bad()
	}
	return time.Duration(d)
}

func (f *fields) time(name string) time.Time {
	v, ok := f.take(name)
	if !ok {
		return time.Time{}
	}
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || t.Year() < 0 || t.Year() > 9999 {
		f.bad()
	}
	return t
}

func (f *fields) list(name string) []string {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	all, is := v.([]any)
	if !is {
		f.bad()
	}
	var list []string
	for _, v := range all {
		s, is := v.(string)
		if !is {
			f.bad()
		}
		list = append(list, s)
	}
	return list
}

func (f *fields) object(name string) map[string]any {
	v, ok := f.take(name)
	m, is := v.(map[string]any)
	if ok && !is {
		f.bad()
	}
	return m
}

func (f *fields) objects(name string) []map[string]any {
	v, ok := f.take(name)
	all, is := v.([]any)
	if ok && !is {
		f.bad()
	}
	var list []map[string]any
	for _, v := range all {
		m, is := v.(map[string]any)
		if !is {
			f.bad()
		}
		list = append(list, m)
	}
	return list
}

func (f *fields) end() error {
	if f.err == nil && len(f.m) > 0 {
		f.err = errors.New("it has a field that this envrun does not know")
	}
	return f.err
}
