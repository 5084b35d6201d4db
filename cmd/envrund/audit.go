package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"envrun/vault"
	"envrun/vault/audit/device"
)

// auditDevice is one [[audit]] of the configuration file: where entries of the
// audit log are sent besides the database.
type auditDevice struct {
	Name     string `toml:"name"`
	Required bool   `toml:"required"` // requests are refused while it does not take their entries
	Deadline string `toml:"deadline"` // for taking an entry; default 2s

	File    string `toml:"file"`    // where it is a file; it is opened anew on SIGHUP and when it was replaced
	Sync    bool   `toml:"sync"`    // flush each batch to the disk
	Reserve *int64 `toml:"reserve"` // bytes beside it that are given up on a full disk; 0 for none

	Syslog   string `toml:"syslog"` // where it is a receiver of RFC 5424: udp://, tcp:// or tls://HOST:PORT
	Facility int    `toml:"facility"`

	HTTP      string `toml:"http"`       // where it is a collector: its URL
	Format    string `toml:"format"`     // splunk, elastic or json
	Index     string `toml:"index"`      // of splunk and elastic
	TokenFile string `toml:"token_file"` // holds the credential

	CA string `toml:"ca"` // PEM of who signed its certificate; default the system's
}

// config makes the device's configuration; it reads the files that are named.
func (a auditDevice) config() (device.Config, error) {
	c := device.Config{Name: a.Name, Required: a.Required}
	var err error
	if a.Deadline != "" {
		if c.Deadline, err = time.ParseDuration(a.Deadline); err != nil || c.Deadline <= 0 {
			return c, errors.New("deadline is not a time such as 2s")
		}
	}
	var trust *tls.Config
	if a.CA != "" {
		pem, err := os.ReadFile(a.CA)
		if err != nil {
			return c, fmt.Errorf("ca: %w", err)
		}
		trust = &tls.Config{RootCAs: x509.NewCertPool()}
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return c, fmt.Errorf("ca: %s holds no certificate", a.CA)
		}
	}
	if a.File != "" {
		c.File = &device.File{Path: a.File, Sync: a.Sync}
		if a.Reserve != nil {
			if c.File.Reserve = *a.Reserve; *a.Reserve == 0 {
				c.File.Reserve = -1
			}
		}
	}
	if a.Syslog != "" {
		u, err := url.Parse(a.Syslog)
		if err != nil || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return c, errors.New("syslog is not udp://, tcp:// or tls://HOST:PORT")
		}
		c.Syslog = &device.Syslog{Network: u.Scheme, Address: u.Host, TLS: trust, Facility: a.Facility}
	}
	if a.HTTP != "" {
		c.HTTP = &device.HTTP{URL: a.HTTP, Format: a.Format, Index: a.Index, TLS: trust}
		if a.TokenFile != "" {
			info, err := os.Stat(a.TokenFile)
			if err != nil {
				return c, fmt.Errorf("token_file: %w", err)
			}
			if err := private(a.TokenFile, info); err != nil {
				return c, err
			}
			text, err := os.ReadFile(a.TokenFile)
			if err != nil {
				return c, fmt.Errorf("token_file: %w", err)
			}
			c.HTTP.Token = vault.NewValue(bytes.TrimSpace(text))
		}
	}
	return c, nil
}

// from makes the names of files absolute: they are said from where the configuration stands.
func (a *auditDevice) from(dir string) {
	for _, p := range []*string{&a.File, &a.TokenFile, &a.CA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// devices opens the audit devices of the configuration.
func (c *config) devices() (*device.Set, error) {
	var configs []device.Config
	for i, a := range c.Audit {
		d, err := a.config()
		if err != nil {
			name := a.Name
			if name == "" {
				name = fmt.Sprintf("number %d", i+1)
			}
			return nil, fmt.Errorf("audit device %s: %w", name, err)
		}
		configs = append(configs, d)
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return device.Open(configs, host)
}

// problems are the devices that do not take entries now, and why.
func problems(set *device.Set) []string {
	var all []string
	for _, h := range set.Health() {
		switch {
		case h.Problem != "" && h.Required:
			all = append(all, fmt.Sprintf("audit device %s: %s: requests are refused", h.Name, h.Problem))
		case h.Problem != "":
			all = append(all, fmt.Sprintf("audit device %s: %s", h.Name, h.Problem))
		case h.Low:
			all = append(all, fmt.Sprintf("audit device %s: its disk is full, and its reserve is used up", h.Name))
		}
	}
	return all
}

// watchDevices says at the start what is wrong with a device, opens all anew on
// SIGHUP, and says when one begins or ends to have a problem, until ctx ends.
func watchDevices(ctx context.Context, set *device.Set, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	_ = set.Check(ctx) // what it finds is in the health
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := map[string]bool{}
	for {
		now := map[string]bool{}
		for _, p := range problems(set) {
			if now[p] = true; !said[p] {
				log.Error(p)
			}
		}
		if len(said) > 0 && len(now) == 0 {
			log.Info("all audit devices take entries again")
		}
		said = now
		select {
		case <-hup:
			log.Info("SIGHUP: audit devices are opened anew")
			set.Reopen()
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// closeDevices sends what still waits, for as long as stopping may take.
func closeDevices(set *device.Set, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := set.Close(ctx); err != nil {
		log.Error("stopping: " + err.Error())
	}
}
