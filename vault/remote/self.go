package remote

import (
	"context"
	"encoding/json"
	"net/http"

	"envrun/vault/wire"
)

// Self is what the server says of the token that Options.Token gives. Its ID is left
// out.
func (v *Vault) Self(ctx context.Context) (wire.TokenInfo, error) {
	in, err := ask[wire.TokenInfo](ctx, v, call{method: http.MethodGet, path: []string{"auth/token/lookup-self"}, repeat: true, unseen: true})
	in.ID = ""
	return in, v.place(err, "", "")
}

// Reach is what the token may do at paths below /v1: "read", "list" …; "deny" alone
// is nothing, and "root" everything. They are of these paths, not of what is below
// them.
func (v *Vault) Reach(ctx context.Context, paths []string) (map[string][]string, error) {
	all, err := ask[map[string]json.RawMessage](ctx, v, call{method: http.MethodPost, path: []string{"sys/capabilities-self"}, body: map[string][]string{"paths": paths}, repeat: true, unseen: true})
	if err != nil {
		return nil, v.place(err, "", "")
	}
	may := make(map[string][]string, len(paths))
	for _, path := range paths {
		var has []string
		if err := json.Unmarshal(all[path], &has); err != nil {
			return nil, v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "it does not say what the token may do at " + path}, "", "")
		}
		may[path] = has
	}
	return may, nil
}
