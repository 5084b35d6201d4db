package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault/wire"
)

// The commands of operators that ask a running server, as any client does.

// remote is how a running server is reached.
type remote struct {
	address, ca, pin string
}

func (r *remote) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.address, "address", "", "address of the server (VAULT_ADDR; default https://127.0.0.1:8200)")
	cmd.Flags().StringVar(&r.ca, "ca", "", "file of certificates that the server's must lead to (VAULT_CACERT)")
	cmd.Flags().StringVar(&r.pin, "pin", "", "pin of the server's key, as it prints it at its start (ENVRUND_PIN)")
}

// serverSaid is an error that the server answered.
type serverSaid struct {
	status int
	texts  []string
}

func (e *serverSaid) Error() string {
	if len(e.texts) == 0 {
		return fmt.Sprintf("the server answered %d", e.status)
	}
	return "the server answered: " + strings.TrimSpace(strings.Join(e.texts, ", "))
}

// at is the address of the server, without a slash at its end.
func (r *remote) at(getenv func(string) string) string {
	return strings.TrimSuffix(first(r.address, getenv("VAULT_ADDR"), "https://127.0.0.1:8200"), "/")
}

func (r *remote) client(getenv func(string) string) (*http.Client, string, error) {
	address := r.at(getenv)
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := first(r.ca, getenv("VAULT_CACERT")); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, "", fmt.Errorf("reading the certificates: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, "", fmt.Errorf("%s holds no certificate", file)
		}
	}
	if pin := first(r.pin, getenv("ENVRUND_PIN")); pin != "" {
		// The pin stands for itself, whoever signed the certificate.
		conf.InsecureSkipVerify = true
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if "sha256/"+base64.StdEncoding.EncodeToString(sum[:]) != pin {
				return errors.New("the server's key is not the one that the pin names")
			}
			return nil
		}
	}
	c := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: conf},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server sends elsewhere, where a token is not sent")
		},
	}
	return c, address, nil
}

// ask sends one request and reads the answer into out, which may be nil.
func (r *remote) ask(ctx context.Context, getenv func(string) string, method, path, token string, in, out any) error {
	c, address, err := r.client(getenv)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		defer clear(text)
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address+"/v1/"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	res, err := c.Do(req)
	if err != nil {
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return &cli.HintError{Err: errors.New("nobody vouches for the server's certificate"), Code: cli.CodeAuth, Hint: "--pin sha256/… as the server prints it at its start, or --ca FILE"}
		}
		return &cli.HintError{Err: fmt.Errorf("asking the server: %w", err), Code: cli.CodeOffline, Hint: "is it there? envrund serve; --address or VAULT_ADDR says where"}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode >= 400 {
		var e wire.Errors
		_ = json.Unmarshal(text, &e) // without a text the status says it
		return &serverSaid{res.StatusCode, e.Errors}
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the answer of %s is not of its form", path)
	}
	return nil
}

func newStatus(t *tool) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say whether a server is set up and unsealed",
		Long:    "Say whether a server is set up and unsealed. Exit status 2 while it is sealed.",
		Example: "  envrund status --pin sha256/…",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s wire.SealStatus
			if err := r.ask(cmd.Context(), t.Getenv, http.MethodGet, "sys/seal-status?sealers=true", "", nil, &s); err != nil {
				return err
			}
			if err := showStatus(t, s); err != nil {
				return err
			}
			if s.Sealed {
				return errSealed
			}
			return nil
		},
	}
	r.add(cmd)
	return cmd
}

// errSealed ends status while the server is sealed: what there is to say was said.
var errSealed = errors.New("sealed")

func showStatus(t *tool, s wire.SealStatus) error {
	if t.json {
		return cli.WriteJSON(t.Out, s)
	}
	t.Printf("initialized  %t\nsealed       %t\n", s.Initialized, s.Sealed)
	if s.Sealed && s.Initialized {
		t.Printf("shares       %d of %d given, of %d\n", s.Progress, s.T, s.N)
	}
	t.Printf("version      %s\nstorage      %s\n", cli.Printable(s.Version), cli.Printable(s.StorageType))
	if len(s.Sealers) > 0 {
		t.Printf("sealers      %s\n", cli.Printable(strings.Join(s.Sealers, ", ")))
	}
	for _, p := range s.SealProblems {
		t.Printf("not opened   %s\n", cli.Printable(p))
	}
	return nil
}

func newUnseal(t *tool) *cobra.Command {
	var (
		r     remote
		reset bool
	)
	cmd := &cobra.Command{
		Use:   "unseal",
		Short: "Give a sealed server one share of its root key",
		Long: `Give a sealed server one share of its root key. It is asked for hidden on a
terminal, else read from stdin whole; never from the command line, where others
would see it. With the last share that it takes the server opens.`,
		Example: "  envrund unseal\n  envrund unseal < share.txt",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := wire.Unseal{Reset: wire.Bool(reset)}
			if !reset {
				share, err := readShare(cmd.Context(), t)
				if err != nil {
					return err
				}
				defer clear(share)
				in.Key = wire.Token(strings.TrimSpace(string(share)))
			}
			var s wire.SealStatus
			if err := r.ask(cmd.Context(), t.Getenv, http.MethodPut, "sys/unseal", "", in, &s); err != nil {
				return err
			}
			return showStatus(t, s)
		},
	}
	r.add(cmd)
	cmd.Flags().BoolVar(&reset, "reset", false, "forget the shares that were given so far")
	return cmd
}

func readShare(ctx context.Context, t *tool) ([]byte, error) {
	if cli.IsTerminal(t.In) {
		return t.AskHidden(ctx, "share of the root key: ", "envrund unseal < FILE")
	}
	return io.ReadAll(io.LimitReader(t.In, 4<<10))
}

func newSeal(t *tool) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:     "seal",
		Short:   "Seal a running server: it forgets its keys and answers nothing until it is unsealed",
		Example: "  VAULT_TOKEN=… envrund seal",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			token := t.Getenv("VAULT_TOKEN")
			if token == "" {
				return &cli.HintError{Err: errors.New("sealing needs a token that may do it"), Code: cli.CodeAuth, Hint: "VAULT_TOKEN=… envrund seal"}
			}
			if err := r.ask(cmd.Context(), t.Getenv, http.MethodPut, "sys/seal", token, nil, nil); err != nil {
				return err
			}
			t.Sayf("sealed\n")
			return nil
		},
	}
	r.add(cmd)
	return cmd
}
