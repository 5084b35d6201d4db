package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault/audit/device"
	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/sqlstore"
)

// database lets the server work on the transactions of the real tables.
type database struct{ *sqlstore.DB }

func (d database) Read(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.Read(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

func (d database) ReadKept(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.ReadKept(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

func (d database) Write(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.Write(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

func sealersOf(recipients map[string]string) []keyring.AgeSealer {
	var all []keyring.AgeSealer
	for _, name := range slices.Sorted(maps.Keys(recipients)) {
		all = append(all, keyring.AgeSealer{Name: name, Recipient: recipients[name]})
	}
	return all
}

// logger writes what the server does to stderr: never what was asked of it.
func logger(t *tool) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Err, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindString || a.Value.Kind() == slog.KindAny {
			a.Value = slog.StringValue(cli.Printable(a.Value.String()))
		}
		return a
	}}))
}

// open opens the database of a configuration and the server on it, sealed, with the
// audit devices in set, nil for none, and what opens it by itself, nil for nothing.
func (c *config) open(ctx context.Context, log *slog.Logger, set *device.Set, o *opener) (*server.Server, *sqlstore.DB, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the folder of the data: %w", err)
	}
	db, kind, err := c.store(ctx)
	if err != nil {
		return nil, nil, err
	}
	conf := server.Config{
		DB: database{db}, Sealers: c.sealers(), Version: apiVersion, StorageType: kind, Address: c.url(),
		Concurrent: c.Limits.Concurrent, Timeout: c.timeout, Limits: c.limits(), Logger: log,
	}
	if set != nil {
		conf.Devices, conf.AuditProblems = set, func() []string { return problems(set) }
		for _, h := range set.Health() {
			conf.AuditDevices = append(conf.AuditDevices, server.AuditDevice{Name: h.Name, Type: h.Type, Required: h.Required})
		}
	}
	if o != nil {
		conf.Services, conf.SealProblems = services(o.ways), o.problems
	}
	return server.New(conf), db, nil
}

func newServe(t *tool) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is told to stop (SIGTERM, Ctrl-C): then it ends the
requests that are under way, seals itself and goes.

It starts sealed, unless the configuration names what unseals it: then that is
tried until it does, or somebody gives it shares.
Without a certificate of its own it makes one at the first start and prints its
pin, which clients compare: pin in envrun.toml.`,
		Example: "  envrund serve --config /etc/envrund.toml",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load(t.Getenv)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), t, c)
		},
	}
	flags.add(cmd, true)
	return cmd
}

func serve(ctx context.Context, t *tool, c *config) error {
	if t.Getenv("GOGC") == "" {
		debug.SetGCPercent(collect)
	}
	log := logger(t)
	set, err := c.devices()
	if err != nil {
		return &cli.HintError{Err: err, Code: cli.CodeConfig}
	}
	defer closeDevices(set, log)
	ways, err := c.ways(t.Getenv)
	if err != nil {
		return err
	}
	o := &opener{ways: ways, log: log}
	s, db, err := c.open(ctx, log, set, o)
	if err != nil {
		return err
	}
	defer db.Close()
	go watchDevices(ctx, set, log)
	conf, pin, err := c.tls(log)
	if err != nil {
		return err
	}
	if len(ways) > 0 {
		tried := make(chan struct{})
		go o.run(ctx, s, tried)
		// An identity opens it before anybody asks. For what hangs nobody waits.
		select {
		case <-tried:
		case <-time.After(startTime):
			log.Warn("still sealed: answering meanwhile")
		}
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	if conf != nil {
		log.Info("serving", "address", c.url(), "listening", l.Addr().String(), "pin", pin)
		l = tls.NewListener(l, conf)
	} else {
		log.Warn("serving WITHOUT TLS: who sees the network sees the secrets", "address", c.url(), "listening", l.Addr().String())
	}
	return run(ctx, s, l, log)
}

// Bounds of a connection. A client that is slow holds nothing but its own.
const (
	headerTime = 10 * time.Second
	readTime   = time.Minute
	idleTime   = 2 * time.Minute
	stopTime   = 15 * time.Second
	sweepEvery = 5 * time.Second
	signEvery  = time.Second

	limitedEvery = 10 * time.Second
	turnEvery    = time.Second
	startTime    = 3 * time.Second // that the first tries to unseal have before the server answers
)

// collect is how much garbage there may be before it is collected, in percent of what
// is in use, which is little: with Go's 100, a fourth of the processor's time went there.
const collect = 400

// spare is memory that was taken while the server was busy.
type spare struct {
	served uint64
	given  bool
}

// give gives it back to the system when nobody has asked anything since the last call.
func (m *spare) give(served uint64) {
	switch {
	case served != m.served:
		m.served, m.given = served, false
	case !m.given:
		debug.FreeOSMemory()
		m.given = true
	}
}

// run serves until ctx ends.
func run(ctx context.Context, s *server.Server, l net.Listener, log *slog.Logger) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      readTime + 2*time.Minute,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    server.MaxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	h.RegisterOnShutdown(s.EndStreams)
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	sign := time.NewTicker(signEvery)
	defer sign.Stop()
	limited := time.NewTicker(limitedEvery)
	defer limited.Stop()
	go turn(ctx, s, log)
	wrong := "" // with the audit log; said once
	var memory spare
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("serving: %w", err)
		case <-tick.C:
			memory.give(s.Served())
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				log.Error("revoking what has expired", "error", err)
			}
			if err := s.Attend(ctx); err != nil && ctx.Err() == nil {
				log.Error("taking over the root key", "error", err)
			}
		case <-limited.C:
			if err := s.RecordLimited(ctx); err != nil && ctx.Err() == nil {
				log.Error("recording what limits refused", "error", err)
			}
		case <-sign.C:
			was := wrong
			if wrong = ""; ctx.Err() == nil {
				if err := s.KeepCheckpoint(ctx); err != nil {
					wrong = err.Error()
				}
			}
			if wrong != "" && wrong != was {
				log.Error("signing a checkpoint of the audit log", "error", wrong)
			}
		case <-ctx.Done():
			log.Info("stopping: requests that are under way end first")
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			err := h.Shutdown(stop)
			if errors.Is(err, context.DeadlineExceeded) {
				log.Warn("some requests did not end in time, and were cut off")
				err = h.Close()
			}
			if e := s.RecordLimited(stop); e != nil {
				log.Error("recording what limits refused", "error", e)
			}
			if e := s.KeepCheckpoint(stop); e != nil {
				log.Error("signing a checkpoint of the audit log", "error", e)
			}
			if e := s.Leave(stop); e != nil {
				log.Warn("the database still has this server among those that run", "error", e)
			}
			s.Lock()
			return err
		}
	}
}

// turn goes on with rotations of keys until ctx ends.
func turn(ctx context.Context, s *server.Server, log *slog.Logger) {
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.Rotate(ctx); err != nil && ctx.Err() == nil {
				log.Error("rotating keys", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// readIdentity reads the identity in a file, which must be private.
func readIdentity(file string) ([]age.Identity, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	// What systemd hands over is guarded by it, and its access list looks like a wide mode.
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir == "" || filepath.Dir(file) != filepath.Clean(dir) {
		if err := private(file, info); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	defer clear(text)
	return parseIdentity(file, text)
}
