package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"envrun/auth/keychain"
	"envrun/auth/oidc/login"
	"envrun/auth/passphrase"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
)

// Each thing that can be wrong with a session has one line that says what, and the
// command that helps.
func TestWordsOfSessions(t *testing.T) {
	alice := session.Account{ID: strings.Repeat("ab", 32), Server: "https://vault.example.com", Label: "alice@example.com", Role: "dev"}
	bob := session.Account{ID: strings.Repeat("cd", 32), Server: "https://vault.example.com", Label: "bob@example.com"}
	at := func(name string, err error) error { return &session.PlaceError{Place: name, Err: err} }
	locked := &keychain.UnavailableError{Keychain: "secret-service", Reason: "the Secret Service is locked", Hint: "unlock the keyring in your desktop session", Locked: true}
	for _, test := range []struct {
		err   error
		code  string
		says  string
		hints []string
	}{
		{&session.KeyError{Place: keychain.Kernel}, cli.CodeAuth, "the kernel's keyring any more, which forgets when the machine restarts", []string{"envrun login"}},
		{&session.KeyError{Place: keychain.MacOS}, cli.CodeAuth, "not in the keychain keychain any more", []string{"envrun login"}},
		{&session.KeyError{Place: keychain.Kernel, Host: "desk"}, cli.CodeAuth, "on desk, and is not here", []string{"envrun login"}},
		{&session.KeyError{Place: keychain.Pass, Other: true}, cli.CodeAuth, "is not the one that this session was sealed with", []string{"envrun login"}},
		{&session.EndedError{Account: alice, Why: "the refresh token was revoked"}, cli.CodeAuth, "the session has ended: the refresh token was revoked", []string{"envrun login"}},
		{&session.EndedError{Account: session.Account{Server: "https://vault.example.com", Method: "approle", Mount: "approle", Role: "0b0b"}, Why: "the token has ended"}, cli.CodeAuth, "the session has ended",
			[]string{"envrun login --method approle --mount approle --role-id 0b0b https://vault.example.com"}},
		{&session.DamagedError{File: "/s/x.sealed", Reason: "is cut short"}, cli.CodeTampered, "/s/x.sealed: is cut short", []string{"nothing of it was used", "envrun login"}},
		{&session.DamagedError{File: "/s/accounts.json", Reason: "is too long", Index: true}, cli.CodeTampered, "is too long", []string{"mv /s/accounts.json /s/accounts.json.old"}},
		{at(keychain.SecretService, locked), cli.CodeAuth, "the Secret Service is locked", []string{"unlock the keyring", "envrun logout --all"}},
		{at(keychain.SecretService, &keychain.TimeoutError{Keychain: "secret-service", Op: "get", After: 3 * time.Second}), cli.CodeAuth, "no answer within 3s", []string{"envrun doctor"}},
		{at(keychain.SecretService, &keychain.LostError{Keychain: "secret-service", Op: "set"}), cli.CodeAuth, "does not have it", []string{"envrun doctor"}},
		{at(session.ByPassphrase, session.ErrNobodyToAsk), cli.CodeAuth, "nobody can be asked for it", []string{"ENVRUN_STORE_PASSPHRASE_FILE=FILE"}},
		{at(session.ByPassphrase, passphrase.ErrWrong), cli.CodeAuth, "the passphrase is wrong", []string{"ENVRUN_STORE_PASSPHRASE_FILE=FILE"}},
		{&session.NoPlaceError{Rejected: []keychain.Rejection{{Keychain: "kernel", Reason: "it is closed", Hint: "open it"}, {Keychain: "pass", Reason: "is not installed"}}},
			cli.CodeAuth, "(kernel: it is closed; pass: is not installed)", []string{"kernel: open it", "--store passphrase", "ENVRUN_TOKEN"}},
		{&session.ElsewhereError{Have: keychain.Kernel, Want: session.ByPassphrase}, cli.CodeConflict, "is in the kernel's keyring, and not in the file under a passphrase", []string{"envrun logout --all"}},
		{&session.BusyError{What: "renewing this session"}, cli.CodeConflict, "another envrun is renewing this session", []string{"try again"}},
		{&session.SudoError{User: "alice"}, cli.CodePolicy, "root through sudo for alice", []string{"without sudo"}},
		{&session.AmbiguousError{Accounts: []session.Account{alice, bob}}, cli.CodeAuth, "2 sessions fit this server: alice@example.com as dev (abababab), bob@example.com (cdcdcdcd)", []string{"--account abababab", "--account cdcdcdcd"}},
		{&session.UnknownError{Wanted: "carol", Others: []session.Account{bob}}, cli.CodeAuth, `there is no session "carol"`, []string{"--account cdcdcdcd", "envrun login"}},
		{session.ErrRetired, cli.CodeAuth, "signed out or in again meanwhile", []string{"envrun login"}},
		{session.ErrNoAccount, cli.CodeAuth, "there is no such session", []string{"envrun login"}},
	} {
		for _, err := range []error{test.err, fmt.Errorf("dev: %w", test.err)} {
			r := new(tool).explain(err)
			hints := strings.Join(r.Hints, "\n")
			for _, hint := range test.hints {
				if !strings.Contains(hints, hint) {
					t.Errorf("%v: hints %q, want %q", err, r.Hints, hint)
				}
			}
			if r.Code != test.code || !strings.Contains(r.Message, test.says) || strings.Contains(r.Message, "\n") || r.Exit == 0 {
				t.Errorf("got %+v, want %s %q", r, test.code, test.says)
			}
		}
	}
	if explainSession(errors.New("something else"), new(cli.Report)) {
		t.Error("it explains what is not its own")
	}
}

// A host that the issuer has endpoints on is named with the line that allows it.
func TestWordsOfHosts(t *testing.T) {
	r := new(tool).explain(&login.HostError{Issuer: "https://cognito.example.com/pool", Endpoint: "token_endpoint", Host: "login.example.net"})
	if hints := strings.Join(r.Hints, "\n"); r.Code != cli.CodeTampered || !strings.Contains(hints, `hosts = ["login.example.net"] in [sign_in]`) {
		t.Errorf("%+v", r)
	}
}
