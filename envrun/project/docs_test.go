package project_test

import (
	"os"
	"strings"
	"testing"

	"envrun/envrun/project"
)

// The page about the project file names every key of every table.
func TestPageNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/project-file.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{"the top": ""} // by table: what is said of its keys
	table := "the top"
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if first := strings.Trim(cells[0], "| `"); strings.HasPrefix(first, "[") {
			table = first
		}
		if table == "the top" || len(cells) < 2 {
			rows[table] += line
		} else {
			rows[table] += cells[1] + "\n"
		}
	}
	for table, keys := range project.Keys {
		for _, key := range keys {
			name := "`" + key + "`"
			if says := rows[table]; !strings.Contains(says, name) && rows["["+key+"]"] == "" && rows["[["+key+"]]"] == "" && rows["[env.NAME."+key+"]"] == "" && key != "env" {
				t.Errorf("docs/project-file.md does not name %s of %s", key, table)
			}
		}
	}
}
