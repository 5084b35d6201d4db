// Package project reads envrun.toml, the one committed file that says where a
// project's secrets live, which environments there are, and what a command
// gets of them. Every value knows the file and line it was written in.
//
// It refuses to guess. An unknown key, a wrong type, a name that no vault
// could hold, a default that names no environment: each is an error with file,
// line and the nearest match, and nothing of the file is used. It holds no
// secret and opens no vault: a vault's location is text here.
//
// # Keys
//
//	vault        where secrets are: a path from this file, or an https:// address
//	ca           a file of certificates in PEM that lead to the server's, from this file
//	pin          "sha256/" and the base64 of the SHA-256 of the server's public key, or a list
//	namespace    of the server
//	project      the path that bare names live under
//	default      the environment without -e and ENVRUN_ENV
//	extends      a project file that this one is laid over
//	require      variables that no run may be without
//	allow_names  variables that secrets may set although they steer programs: PATH, LD_PRELOAD, NODE_OPTIONS…
//	inherit_wins variables that keep the caller's value, if it has one
//	[mask]       VARIABLE = true|false: whether its value is masked in output, whatever it looks like
//	[ci]         how a pipeline signs in to the server with its platform's identity: role; mount, the way
//	             to sign in there ("jwt"); audience of the identity token (the server's address)
//	[sign_in]    how people sign in to the server, before what it says by itself: mount, role, issuer,
//	             client_id, scopes, flow = "browser"|"device"|"paste"; ca of the issuer
//	[env.NAME]   vault, ca, pin, namespace, ci, sign_in; mount: its mount on the server, if that has another name;
//	             cache = "24h"|"off": how long what was read is used while the server is away;
//	             protected = true|false, mask = "auto"|"always"|"never", require
//	[[inject]]   path; only, except: patterns over fields; rename = { field = "VARIABLE" }; prefix;
//	             transform = "upper"; optional = true; env: one or a list; mask = true|false
//	[[file]]     path, field, var; optional, env and mask as above
//
// How a server is known goes with the server: an environment that names a vault
// takes no ca, pin or namespace from the top of the file. A pin alone says enough,
// whoever signed the certificate; with ca, both must be right.
//
// # Which file
//
// The nearest envrun.toml (else .envrun.toml) from the working directory
// upward wins whole; the search ends after the root of a git repository or
// the home directory. A file found so must belong to the user or to root,
// since whoever writes it chooses where secrets are read from and sent to;
// a file named by hand may belong to anybody. No file that everybody may
// write is read, found or named. Windows has neither check: its owners and
// access lists do not say this in a form that holds.
//
// A symlink is followed. Both the link and the file behind it must pass the
// check of owners, and relative paths and envrun.local.toml are looked up
// beside the file behind it: the same file then means the same whichever way
// it was reached, and a link that somebody plants can name no vault of theirs.
//
// # Layers
//
// A file is laid over the one it extends, and NAME.local.toml beside the found
// file (envrun.local.toml) over both. Single values replace, environments are
// joined by name and key by key, lists and rules are added after those there
// are. A file that names a project and has no [[inject]] injects every field
// of that project; a later file that names another project takes that rule
// away with the name. The local file can protect an environment but never lift
// its protection, and cannot extend.
package project
