package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
)

// all follows a query to the end, in pages, as it stands in the store.
func all(t testing.TB, s *store, q audit.Query) []int64 {
	t.Helper()
	var found []int64
	for {
		var page audit.Page
		if err := s.reader(func(r audit.Reader) (err error) { page, err = audit.Read(r, q); return err }); err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			if rec.Line != s.rows[rec.Index].Line || rec.Entry.Line().String() != rec.Line {
				t.Fatalf("entry %d is %s", rec.Index, rec.Line)
			}
			found = append(found, rec.Index)
		}
		if !page.More {
			return found
		}
		q.From = page.Next
	}
}

func TestRead(t *testing.T) {
	const size = 600
	s := &store{}
	now := start
	l := audit.NewLog(nil, func() time.Time { now = now.Add(time.Second); return now })
	for n := range size {
		e := entry(n)
		if n%2 == 1 {
			e.Type = audit.Outcome
		}
		if n == 40 {
			e.Auth.Metadata = map[string]string{"mail": "ann@example.dev"}
		}
		if n == 41 {
			e = audit.Entry{Type: audit.Outcome, Request: audit.Request{MountPoint: "sys/", Path: "sys/mounts/stage", Data: &audit.Data{MountPoint: "stage/"}}}
		}
		if n == 42 {
			e.Auth.DisplayName = "zoë \"z\""
		}
		if err := s.write(func(tx *tx) error { _, err := l.Append(tx, e.Line()); return err }); err != nil {
			t.Fatal(err)
		}
	}
	that := func(f func(n int) bool) (out []int64) {
		for n := range size {
			if f(n) {
				out = append(out, int64(n))
			}
		}
		return out
	}
	usual := func(n int) bool { return n != 41 }
	for name, c := range map[string]struct {
		q    audit.Query
		want []int64
	}{
		"everything":        {audit.Query{Limit: 1000}, that(func(int) bool { return true })},
		"in pages":          {audit.Query{Limit: 7}, that(func(int) bool { return true })},
		"an environment":    {audit.Query{Env: "prod"}, that(func(n int) bool { return n%2 == 1 && usual(n) })},
		"about one":         {audit.Query{Env: "stage"}, []int64{41}},
		"who":               {audit.Query{Who: "bob"}, that(func(n int) bool { return n%3 == 1 && usual(n) })},
		"by mail":           {audit.Query{Who: "ann@example.dev"}, []int64{40}},
		"by token":          {audit.Query{Who: hasher.Hash("t").String(), Limit: 50}, that(usual)},
		"a name of escapes": {audit.Query{Who: "zoë \"z\""}, []int64{42}},
		"nobody":            {audit.Query{Who: "bo"}, nil},
		"a path":            {audit.Query{Path: "prod/data/app/3"}, that(func(n int) bool { return n%2 == 1 && n%5 == 3 })},
		"below a path":      {audit.Query{Path: "/dev/data/app/"}, that(func(n int) bool { return n%2 == 0 })},
		"a secret":          {audit.Query{Path: "app/3"}, that(func(n int) bool { return n%5 == 3 && usual(n) })},
		"secrets":           {audit.Query{Path: "app", Limit: 1}, that(usual)},
		"a part of a name":  {audit.Query{Path: "ap"}, nil},
		"intents":           {audit.Query{Type: audit.Intent}, that(func(n int) bool { return n%2 == 0 })},
		"since":             {audit.Query{Since: start.Add(598 * time.Second)}, []int64{597, 598, 599}},
		"until":             {audit.Query{Until: start.Add(3 * time.Second)}, []int64{0, 1}},
		"between":           {audit.Query{Since: start.Add(10500 * time.Millisecond), Until: start.Add(12 * time.Second)}, []int64{10}},
		"since and from":    {audit.Query{Since: start.Add(598 * time.Second), From: 599}, []int64{599}},
		"in the future":     {audit.Query{Since: start.Add(time.Hour)}, nil},
		"from behind":       {audit.Query{From: 700}, nil},
		"from far behind":   {audit.Query{From: 1<<63 - 1}, nil},
		"from before":       {audit.Query{From: -5, Limit: 1000}, that(func(int) bool { return true })},
		"all of them":       {audit.Query{Env: "prod", Who: "bob", Path: "app/4", Type: audit.Outcome}, that(func(n int) bool { return n%2 == 1 && n%3 == 1 && n%5 == 4 })},
		"newest":            {audit.Query{Newest: true, Limit: 3}, []int64{597, 598, 599}},
		"newest of one":     {audit.Query{Newest: true, Limit: 2, Who: "bob"}, []int64{595, 598}},
		"newest, far":       {audit.Query{Newest: true, Limit: 2, Env: "stage"}, []int64{41}},
		"one request":       {audit.Query{ID: entry(7).Request.ID, Limit: 1000}, that(func(n int) bool { return usual(n) && entry(n).Request.ID == entry(7).Request.ID })},
		"before":            {audit.Query{To: 3}, []int64{0, 1, 2}},
		"from and before":   {audit.Query{From: 1, To: 3}, []int64{1, 2}},
		"before itself":     {audit.Query{From: 3, To: 3}, nil},
		"before the end":    {audit.Query{From: 598, To: 1 << 62}, []int64{598, 599}},
		"anything":          {audit.Query{Path: "prod/*/app/3"}, that(func(n int) bool { return n%2 == 1 && n%5 == 3 })},
		"anything behind":   {audit.Query{Path: "prod/data/ap*"}, that(func(n int) bool { return n%2 == 1 && usual(n) })},
		"anything before":   {audit.Query{Path: "*/3"}, that(func(n int) bool { return n%5 == 3 && usual(n) })},
		"anything at all":   {audit.Query{Path: "*", Limit: 1000}, that(func(int) bool { return true })},
		"nothing of it":     {audit.Query{Path: "prod/*/nothing"}, nil},
		"newest before":     {audit.Query{Newest: true, Limit: 2, To: 10}, []int64{8, 9}},
		"newest since":      {audit.Query{Newest: true, Limit: 9, Since: start.Add(599 * time.Second)}, []int64{598, 599}},
	} {
		if got := all(t, s, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d found: %v, want %v", name, len(got), got, c.want)
		}
	}
}

// Who looks further back than one answer does asks again, up to where it ended.
func TestReadBack(t *testing.T) {
	l, _ := newLog(t)
	b := newBase(t)
	b.grow(l, 0, 10)
	var many []audit.Entry
	for range 45_000 {
		many = append(many, audit.Entry{Type: audit.Intent})
	}
	if err := b.append(l, many...); err != nil {
		t.Fatal(err)
	}
	var pages []string
	q := audit.Query{Who: "bob", Newest: true, Limit: 2}
	for {
		var page audit.Page
		if err := b.read(func(r audit.Reader) (err error) { page, err = audit.Read(r, q); return err }); err != nil {
			t.Fatal(err)
		}
		var found []int64
		for _, r := range page.Records {
			found = append(found, r.Index)
		}
		pages = append(pages, fmt.Sprint(found, page.Back))
		if q.To = page.Back; page.Back == 0 {
			break
		}
	}
	if got := strings.Join(pages, "; "); got != "[] 25010; [] 5010; [4 7] 4; [1] 0" {
		t.Errorf("%s", got)
	}
}

// Who reads the log fills it with that. It can be left out, but for who may not.
func TestReadQuiet(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	reads := func(status int, allowed bool, why string) audit.Entry {
		return audit.Entry{Type: audit.Outcome, Status: status, Error: why, Auth: audit.Auth{PolicyResults: &audit.PolicyResults{Allowed: allowed}}, Request: audit.Request{Path: "sys/audit-log/entries"}}
	}
	intent := reads(0, true, "")
	intent.Type = audit.Intent
	for _, e := range []audit.Entry{entry(0), intent, reads(200, true, ""), reads(403, false, "permission denied"), reads(500, true, "internal error"), {Type: audit.Outcome, Request: audit.Request{Path: "sys/audit-log/checkpoint"}}, entry(1)} {
		if err := s.write(func(tx *tx) error { _, err := l.Append(tx, e.Line()); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, s, audit.Query{Quiet: true}); !slices.Equal(got, []int64{0, 3, 4, 6}) {
		t.Errorf("%v", got)
	}
}

// To follow is to ask again from where the answer before ended.
func TestFollow(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	grow(t, l, s, 10)
	q := audit.Query{Who: "bob", Newest: true, Limit: 1}
	var got []int64
	for size := 10; size <= 30; size += 5 {
		grow(t, l, s, size)
		if err := s.reader(func(r audit.Reader) error {
			page, err := audit.Read(r, q)
			for _, rec := range page.Records {
				got = append(got, rec.Index)
			}
			if page.Size != int64(size) || page.Next != int64(size) || page.More {
				t.Errorf("%d: %+v", size, page)
			}
			q = audit.Query{Who: "bob", From: page.Next}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{7, 10, 13, 16, 19, 22, 25, 28}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// One answer looks at a bounded number of rows, and says that there are more.
func TestReadEndsWithoutAMatch(t *testing.T) {
	l, _ := newLog(t)
	b := newBase(t)
	var many []audit.Entry
	for range 25_000 {
		many = append(many, audit.Entry{Type: audit.Intent})
	}
	if err := b.append(l, many...); err != nil {
		t.Fatal(err)
	}
	b.grow(l, 1, 2)
	var pages []string
	q := audit.Query{Who: "bob"}
	for {
		var page audit.Page
		if err := b.read(func(r audit.Reader) (err error) { page, err = audit.Read(r, q); return err }); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, fmt.Sprint(len(page.Records), page.Next, page.More))
		if q.From = page.Next; !page.More {
			break
		}
	}
	if got := strings.Join(pages, "; "); got != "0 20000 true; 1 25001 false" {
		t.Errorf("%s", got)
	}
}

func TestReadRefusesWhatWasChanged(t *testing.T) {
	for name, tamper := range map[string]func(*base){
		"a line":    func(b *base) { b.exec(`UPDATE audit SET line = replace(line, '"bob"', '"eve"') WHERE idx = 4`) },
		"a row":     func(b *base) { b.exec(`DELETE FROM audit WHERE idx = 4`) },
		"the nodes": func(b *base) { b.exec(`UPDATE audit SET hashes = x'00' WHERE idx = 4`) },
		"no nodes":  func(b *base) { b.exec(`UPDATE audit SET hashes = x'' WHERE idx = 4`) },
		"the last":  func(b *base) { b.exec(`DELETE FROM audit WHERE idx = 9`) },
	} {
		b := newBase(t)
		l, _ := newLog(t)
		b.grow(l, 0, 10)
		tamper(b)
		err := b.read(func(r audit.Reader) error { _, err := audit.Read(r, audit.Query{}); return err })
		if vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An entry of a newer server is shown as far as it is known, and the line whole.
func TestReadOfANewerEntry(t *testing.T) {
	l, _ := newLog(t)
	b := newBase(t)
	b.grow(l, 0, 2)
	b.forge(1, `"display_name":"bob"`, `"cost_centre":7,"display_name":"bob"`)
	if err := b.read(func(r audit.Reader) error {
		page, err := audit.Read(r, audit.Query{Who: "bob"})
		if err == nil && (len(page.Records) != 1 || page.Records[0].Entry.Auth.DisplayName != "bob" || !strings.Contains(page.Records[0].Line, "cost_centre")) {
			t.Errorf("%+v", page)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func BenchmarkLine(b *testing.B) {
	e := usual()
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Line()
	}
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		hasher.Hash("hvs.CAESIJ0000000000000000000000000000")
	}
}

// Two entries for each request, as a read of the server appends them: SQLite with
// full synchronisation, PostgreSQL without fsync, as the tests have it.
func BenchmarkAppend(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *base{"sqlite": newBase, "postgres": newPostgres} {
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) {
				l, _ := newLog(b)
				db := open(b)
				b.SetParallelism(clients)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := db.append(l, usual(), usual()); err != nil {
							b.Error(err)
						}
					}
				})
				b.StopTimer()
				if err := db.check(l); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

// usual is an entry of the kind that most are.
func usual() audit.Entry {
	h := hasher.Hash("t")
	return audit.Entry{
		Auth: audit.Auth{Accessor: h, ClientToken: h, DisplayName: "oidc-ann", Policies: []string{"default", "prod-read"}, TokenTTL: 3600, TokenType: "service",
			PolicyResults: &audit.PolicyResults{Allowed: true, GrantingPolicies: []audit.GrantingPolicy{{Name: "prod-read", Type: "acl"}}}},
		Request: audit.Request{Data: &audit.Data{Environment: "prod"}, Headers: &audit.Headers{UserAgent: []string{"envrun/1"}}, ID: "25fb2317-73d2-4b89-baa1-f632e0c2a10c",
			MountAccessor: "kv_62384ed7", MountPoint: "prod/", MountType: "kv", Operation: "read", Path: "prod/data/billing", RemoteAddress: "10.0.0.9", RemotePort: 54886},
		Response: &audit.Response{Data: &audit.Data{Version: 3}}, Status: 200, Time: start, Type: audit.Outcome,
	}
}
