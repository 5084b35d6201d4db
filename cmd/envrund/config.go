package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault/keyring"
	"envrun/vault/postgres"
	"envrun/vault/server"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
)

// config is the configuration file. A flag wins over the environment, and that over
// the file.
type config struct {
	Listen    string `toml:"listen"`     // host:port
	Address   string `toml:"address"`    // https://…, how clients reach it
	Data      string `toml:"data"`       // folder of the database and the certificate
	Database  string `toml:"database"`   // postgres://…; "" is SQLite in the folder
	PlainHTTP string `toml:"plain_http"` // "", "loopback", "anywhere"

	TLS struct {
		Cert string `toml:"cert"` // PEM; "" makes one at the first start
		Key  string `toml:"key"`
		Min  string `toml:"min"` // "1.3", "1.2"
	} `toml:"tls"`

	Seal struct {
		Identity   string            `toml:"identity"`   // file of an age identity that unseals the server at its start
		Recipients map[string]string `toml:"recipients"` // name → age recipient, sealers of a new server
		Auto       []autoSealer      `toml:"auto"`       // more that unseals it, tried after identity
		Timeout    string            `toml:"timeout"`    // of one try
	} `toml:"seal"`

	Limits struct {
		Concurrent int    `toml:"concurrent"` // requests at a time
		Timeout    string `toml:"timeout"`    // of one request

		Rate         float64  `toml:"rate"`          // requests a second with one token; 0: any number
		Burst        int      `toml:"burst"`         // at once; 0: twice the rate
		UnknownRate  *float64 `toml:"unknown_rate"`  // a second of one address without a good token; 0: any number
		UnknownBurst int      `toml:"unknown_burst"` // at once; 0: 60 times the rate

		LoginRate  *float64 `toml:"login_rate"`  // tries to sign in a second of one address at one mount; 0: any number
		LoginBurst int      `toml:"login_burst"` // at once; 0: 60 times the rate
		MountRate  *float64 `toml:"mount_rate"`  // of all addresses at one mount; 0: any number
		MountBurst int      `toml:"mount_burst"` // at once; 0: 20 times the rate
	} `toml:"limits"`

	Audit []auditDevice `toml:"audit"`

	timeout time.Duration
	tryTime time.Duration // of Seal.Timeout
}

// configFlags are the flags of the commands that work on a server's own files.
type configFlags struct {
	file, listen, address, data, plainHTTP string
}

func (f *configFlags) add(cmd *cobra.Command, listens bool) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (ENVRUND_CONFIG)")
	cmd.Flags().StringVar(&f.data, "data", "", "folder of the database and the certificate (ENVRUND_DATA; default /var/lib/envrund)")
	if listens {
		cmd.Flags().StringVar(&f.listen, "listen", "", "host and port to listen on (ENVRUND_LISTEN; default 127.0.0.1:8200)")
		cmd.Flags().StringVar(&f.address, "address", "", "address by which clients reach it (ENVRUND_ADDRESS)")
		cmd.Flags().StringVar(&f.plainHTTP, "plain-http", "", "serve without TLS: loopback, or anywhere")
	}
}

// load puts the configuration together.
func (f *configFlags) load(getenv func(string) string) (*config, error) {
	c := &config{Listen: "127.0.0.1:8200", Data: "/var/lib/envrund"}
	file := first(f.file, getenv("ENVRUND_CONFIG"))
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		d := toml.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(c); err != nil {
			return nil, tomlError(file, err)
		}
		// Files are named from where the configuration stands.
		for _, p := range []*string{&c.Data, &c.TLS.Cert, &c.TLS.Key, &c.Seal.Identity} {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(filepath.Dir(file), *p)
			}
		}
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		for i := range c.Audit {
			c.Audit[i].from(dir)
		}
		for i := range c.Seal.Auto {
			c.Seal.Auto[i].from(dir)
		}
	}
	c.Listen = first(f.listen, getenv("ENVRUND_LISTEN"), c.Listen)
	c.Address = first(f.address, getenv("ENVRUND_ADDRESS"), c.Address)
	c.Data = first(f.data, getenv("ENVRUND_DATA"), c.Data)
	c.PlainHTTP = first(f.plainHTTP, c.PlainHTTP)
	c.Database = first(getenv("ENVRUND_DATABASE"), c.Database) // no flag: it may hold a password
	return c, c.check(file)
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func tomlError(file string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		line, _ := strict.Errors[0].Position()
		return &cli.HintError{Err: fmt.Errorf("%s:%d: there is no setting %s", file, line, strings.Join(strict.Errors[0].Key(), ".")), Code: cli.CodeConfig}
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		return &cli.HintError{Err: fmt.Errorf("%s:%d: %s", file, line, bad.Error()), Code: cli.CodeConfig}
	}
	return &cli.HintError{Err: fmt.Errorf("%s: %w", file, err), Code: cli.CodeConfig}
}

func (c *config) check(file string) error {
	bad := func(format string, args ...any) error {
		err := fmt.Errorf(format, args...)
		if file != "" {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return &cli.HintError{Err: err, Code: cli.CodeConfig}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return bad("listen: %q is not host:port", c.Listen)
	}
	switch c.PlainHTTP {
	case "", "anywhere":
	case "loopback":
		if !loopback(host) {
			return bad(`plain_http = "loopback", but %q is not an address of this machine alone: secrets would cross the network in clear (plain_http = "anywhere" does it all the same, behind a proxy that speaks TLS)`, c.Listen)
		}
	default:
		return bad(`plain_http is %q: only "loopback" and "anywhere" mean something`, c.PlainHTTP)
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		return bad("database is an address that begins with postgres://; without one it is SQLite in the folder of the data")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return bad("tls.cert and tls.key come together")
	}
	if c.TLS.Min != "" && c.TLS.Min != "1.2" && c.TLS.Min != "1.3" {
		return bad(`tls.min is %q: "1.3" is the default, "1.2" the least`, c.TLS.Min)
	}
	c.tryTime = tryTime
	if c.Seal.Timeout != "" {
		if c.tryTime, err = time.ParseDuration(c.Seal.Timeout); err != nil || c.tryTime <= 0 {
			return bad("seal.timeout is not a time such as 30s")
		}
	}
	names := map[string]bool{}
	for i := range c.Seal.Auto {
		a := &c.Seal.Auto[i]
		if wrong := a.check(); wrong != "" {
			return bad("seal.auto %d: %s", i+1, wrong)
		}
		if a.Transit != "" && names[a.Name] {
			return bad("seal.auto %d: there are two of the name %s", i+1, a.Name)
		}
		names[a.Name] = true
	}
	if c.Limits.Concurrent < 0 {
		return bad("limits.concurrent is less than 0")
	}
	if c.Limits.Rate < 0 || c.Limits.Burst < 0 || c.Limits.UnknownRate != nil && *c.Limits.UnknownRate < 0 || c.Limits.UnknownBurst < 0 ||
		c.Limits.LoginRate != nil && *c.Limits.LoginRate < 0 || c.Limits.LoginBurst < 0 || c.Limits.MountRate != nil && *c.Limits.MountRate < 0 || c.Limits.MountBurst < 0 {
		return bad("a rate or a burst of limits is less than 0")
	}
	if c.Limits.Timeout != "" {
		if c.timeout, err = time.ParseDuration(c.Limits.Timeout); err != nil || c.timeout <= 0 {
			return bad("limits.timeout is not a time such as 30s")
		}
	}
	return nil
}

// loopback says whether a host is this machine and reached by nobody else.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// url is how clients reach the server.
func (c *config) url() string {
	if c.Address != "" {
		return c.Address
	}
	if c.PlainHTTP != "" {
		return "http://" + c.Listen
	}
	return "https://" + c.Listen
}

// store opens the database that the configuration names, and says of which kind it is.
func (c *config) store(ctx context.Context) (db *sqlstore.DB, kind string, err error) {
	if c.Database != "" {
		db, err = postgres.Open(ctx, c.Database)
		return db, "postgresql", err
	}
	db, err = sqlite.Open(ctx, filepath.Join(c.Data, "envrun.db"))
	return db, "sqlite", err
}

// sealers are those that the configuration names, in the order of their names.
func (c *config) sealers() []keyring.AgeSealer { return sealersOf(c.Seal.Recipients) }

// services is how many sealers of the configuration are asked over the network.
func (c *config) services() (n int) {
	for _, a := range c.Seal.Auto {
		if a.Transit != "" {
			n++
		}
	}
	return n
}

// What one client may do a second, where the configuration says nothing. Signing in
// is what the 200 jobs of a large pipeline do within a minute, or all at once, behind
// one address; and what one processor checks with little of its time.
const (
	unknownRate = 1  // requests of one address without a good token
	loginRate   = 5  // tries to sign in of one address at one mount
	mountRate   = 50 // of all addresses
)

// limits are those of one client.
func (c *config) limits() server.Limits {
	l := server.Limits{
		Rate: c.Limits.Rate, Burst: c.Limits.Burst, UnknownRate: unknownRate, UnknownBurst: c.Limits.UnknownBurst,
		LoginRate: loginRate, LoginBurst: c.Limits.LoginBurst, MountRate: mountRate, MountBurst: c.Limits.MountBurst,
	}
	for _, r := range []struct{ to, from *float64 }{{&l.UnknownRate, c.Limits.UnknownRate}, {&l.LoginRate, c.Limits.LoginRate}, {&l.MountRate, c.Limits.MountRate}} {
		if r.from != nil {
			*r.to = *r.from
		}
	}
	if l.LoginBurst == 0 {
		l.LoginBurst = max(1, int(60*l.LoginRate))
	}
	if l.MountBurst == 0 {
		l.MountBurst = max(1, int(20*l.MountRate))
	}
	if l.Burst == 0 {
		l.Burst = max(1, int(2*l.Rate))
	}
	if l.UnknownBurst == 0 {
		l.UnknownBurst = max(1, int(60*l.UnknownRate))
	}
	return l
}
