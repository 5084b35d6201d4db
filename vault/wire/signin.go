package wire

// SignIns is how people sign in to an envrund (GET sys/sign-in, for anybody): the
// ways that have a client_id. It names no role that its operator did not list, and
// says nothing of ways for machines.
type SignIns struct {
	Methods []SignInMethod `json:"methods"` // by mount
}

// A SignInMethod is one way: an issuer, where people get the identity token that the
// mount takes.
type SignInMethod struct {
	Mount       string       `json:"mount"` // "human", for auth/human
	Type        string       `json:"type"`  // "jwt"
	Description string       `json:"description,omitempty"`
	Issuer      string       `json:"issuer"`
	ClientID    string       `json:"client_id"`
	Scopes      []string     `json:"scopes"` // beside openid
	Flows       []string     `json:"flows"`  // of "browser" and "device", those that are allowed
	DefaultRole string       `json:"default_role,omitempty"`
	Roles       []SignInRole `json:"roles"` // those with listed = true, by name
}

// A SignInRole is a role that people choose.
type SignInRole struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	MaxAge      Duration `json:"max_age"`    // how long ago one may have signed in at the issuer; 0: any time
	ACR         []string `json:"acr_values"` // one of which the issuer has to say
}
