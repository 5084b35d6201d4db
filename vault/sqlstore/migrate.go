package sqlstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"envrun/vault"
)

//go:embed migrations/*.sql
var files embed.FS

// migrate brings the tables up to date in one transaction, which no other
// program writes in the middle of: of several replicas that start at once one
// does the work and the others find it done.
func (db *DB) migrate(ctx context.Context) (err error) {
	const op = "preparing the tables"
	c, err := db.open(ctx)
	if err != nil {
		return db.d.Explain(op, err)
	}
	defer c.close()
	if err := c.script(ctx, db.d.BeginWrite); err != nil {
		return db.d.Explain(op, err)
	}
	defer func() {
		if err != nil {
			_ = c.script(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if err := c.script(ctx, `CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)`); err != nil {
		return db.d.Explain(op, err)
	}
	rows, err := c.c.QueryContext(ctx, `SELECT name FROM migrations`)
	if err != nil {
		return db.d.Explain(op, err)
	}
	var ran []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			rows.Close()
			return db.d.Explain(op, err)
		}
		ran = append(ran, name)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return db.d.Explain(op, err)
	}
	ours := db.migrations()
	for _, name := range ran {
		if !slices.Contains(ours, name) {
			return &vault.Error{Kind: vault.KindVersion, Op: op,
				Detail: fmt.Sprintf("the tables have the change %s, which this program does not know: a newer one made it", name)}
		}
	}
	for _, name := range ours {
		if slices.Contains(ran, name) {
			continue
		}
		text, err := fs.ReadFile(files, "migrations/"+name+"."+db.d.Name+".sql")
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if err := c.script(ctx, string(text)); err != nil {
			return db.d.Explain(op+", "+name, err)
		}
		if _, err := c.c.ExecContext(ctx, db.d.Placeholders(`INSERT INTO migrations (name) VALUES (?)`), name); err != nil {
			return db.d.Explain(op, err)
		}
	}
	if err := c.script(ctx, "COMMIT"); err != nil {
		return db.d.Explain(op, err)
	}
	return nil
}

// migrations are the names of all, in order. fs.ReadDir sorts.
func (db *DB) migrations() []string {
	entries, err := fs.ReadDir(files, "migrations")
	if err != nil {
		panic("sqlstore: " + err.Error()) // they are part of the program
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), "."+db.d.Name+".sql"); ok {
			names = append(names, name)
		}
	}
	return names
}
