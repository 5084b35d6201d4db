package server

import (
	"slices"

	"envrun/vault/audit"
)

// audits is sys/audit: which logs are written, and the hash under which a token
// stands in them. Logs are made by the configuration file and not through the
// API: who may call it is not for that reason somebody who may write files on the
// host (CVE-2025-6000).
type audits struct {
	hasher  *audit.Hasher
	devices []AuditDevice
}

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
	entry := func(kind, path, description string, options map[string]string) map[string]any {
		return map[string]any{"type": kind, "path": path, "description": description, "local": false, "options": options}
	}
	all := map[string]any{logPath: entry("log", logPath, "the Merkle log in the server's database", map[string]string{})}
	for _, d := range a.devices {
		description := "best effort"
		if d.Required {
			description = "required"
		}
		all[d.Name+"/"] = entry(d.Type, d.Name+"/", description, map[string]string{})
	}
	return flat(all), nil
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
	// All of them have the same lines, and so the same hashes.
	if at[0]+"/" != logPath && !slices.ContainsFunc(a.devices, func(d AuditDevice) bool { return d.Name == at[0] }) {
		return nil, bad("unknown audit backend")
	}
	if in.Input == "" {
		return nil, bad("the \"input\" parameter is empty")
	}
	return warn(flat(map[string]string{"hash": a.hasher.Hash(in.Input).String()}), warnings...), nil
}
