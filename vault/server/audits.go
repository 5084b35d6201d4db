package server

import (
	"envrun/vault/audit"
)

// audits is sys/audit: which logs are written, and the hash under which a token
// stands in them. Logs are made by the configuration file and not through the
// API: who may call it is not for that reason somebody who may write files on the
// host (CVE-2025-6000).
type audits struct{ hasher *audit.Hasher }

// logPath is the log in the database, which is always there.
const logPath = "log/"

func (a audits) area() area {
	return area{
		{path: "audit", read: a.list},
		{path: "audit/{path...}", update: a.refuse, remove: a.refuse},
		{path: "audit-hash/{path}", update: a.hash, looks: true},
	}
}

func (a audits) list(*call, []string) (*answer, error) {
	return flat(map[string]any{
		logPath: map[string]any{
			"type": "log", "path": logPath, "description": "the Merkle log in the server's database",
			"local": false, "options": map[string]string{},
		},
	}), nil
}

func (a audits) refuse(*call, []string) (*answer, error) {
	return nil, bad("audit devices are made and removed in the server's configuration file")
}

func (a audits) hash(c *call, at []string) (*answer, error) {
	in, warnings, err := body[struct {
		Input string `json:"input"`
	}](c)
	if err != nil {
		return nil, err
	}
	if at[0]+"/" != logPath {
		return nil, bad("unknown audit backend")
	}
	if in.Input == "" {
		return nil, bad("the \"input\" parameter is empty")
	}
	return warn(flat(map[string]string{"hash": a.hasher.Hash(in.Input).String()}), warnings...), nil
}
