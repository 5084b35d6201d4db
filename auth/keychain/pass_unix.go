//go:build !windows

package keychain

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// pass runs the program of passwordstore.org, which keeps one gpg-encrypted
// file per key. Ours lie under <store>/<service>/.
type pass struct {
	o       Options
	session Session
}

func newPass(o Options) backend { return pass{o, o.Session()} }

func (p pass) max(string) int { return 64 << 10 }

// dir is the store, and "" if nobody says where it is.
func (p pass) dir() string {
	if d := p.o.getenv("PASSWORD_STORE_DIR"); d != "" {
		return d
	}
	if home := p.o.getenv("HOME"); home != "" {
		return filepath.Join(home, ".password-store")
	}
	return ""
}

func (p pass) file(key string) string {
	return filepath.Join(p.dir(), p.o.service(), key+".gpg")
}

func (p pass) ready(context.Context, bool) error {
	if _, err := exec.LookPath("pass"); err != nil {
		return p.unavailable("pass is not installed", "")
	}
	dir := p.dir()
	if dir == "" {
		return p.unavailable("nothing says where the password store is", "set HOME or PASSWORD_STORE_DIR")
	}
	for _, id := range []string{filepath.Join(dir, p.o.service(), ".gpg-id"), filepath.Join(dir, ".gpg-id")} {
		if _, err := os.Stat(id); err == nil {
			return nil
		}
	}
	return p.unavailable("there is no password store in "+dir, "make one with: pass init YOUR-GPG-ID")
}

func (p pass) get(ctx context.Context, key string) ([]byte, error) {
	if err := p.exists(key); err != nil {
		return nil, err
	}
	return p.run(ctx, nil, "show", p.o.service()+"/"+key)
}

func (p pass) set(ctx context.Context, key string, secret []byte) error {
	_, err := p.run(ctx, secret, "insert", "--multiline", "--force", p.o.service()+"/"+key)
	return err
}

func (p pass) delete(ctx context.Context, key string) error {
	if err := p.exists(key); err != nil {
		return err
	}
	_, err := p.run(ctx, nil, "rm", "--force", p.o.service()+"/"+key)
	return err
}

func (p pass) exists(key string) error {
	_, err := os.Stat(p.file(key))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	}
	u := p.unavailable("the password store cannot be read", "")
	u.Err = err
	return u
}

// run runs pass in a process group of its own, which is killed as a whole when
// ctx ends: gpg would go on waiting for its passphrase and keep the terminal.
func (p pass) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "pass", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	cmd.Env = append(os.Environ(), p.env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = graceAfter / 2
	if err := cmd.Run(); err != nil {
		clear(stdout.Bytes())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, p.explain(stderr.String(), err)
	}
	return stdout.Bytes(), nil
}

// env tells gpg where it may ask for a passphrase, and that it may not where
// nobody sits: it then fails at once if the passphrase is not cached.
func (p pass) env() []string {
	env := []string{"PASSWORD_STORE_DIR=" + p.dir(), "LC_ALL=C"}
	tty := p.o.getenv("GPG_TTY")
	if tty == "" {
		tty = terminal()
	}
	if tty != "" {
		env = append(env, "GPG_TTY="+tty)
	}
	if !p.o.Interactive || tty == "" && !p.session.Graphical {
		opts := strings.TrimSpace(p.o.getenv("PASSWORD_STORE_GPG_OPTS") + " --pinentry-mode error")
		env = append(env, "PASSWORD_STORE_GPG_OPTS="+opts)
	}
	return env
}

func (p pass) unavailable(reason, hint string) *UnavailableError {
	return &UnavailableError{Keychain: Pass, Reason: reason, Hint: hint}
}

// explain sorts what gpg and pass say on stderr, which holds no secret.
func (p pass) explain(stderr string, err error) error {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(stderr, w) {
				return true
			}
		}
		return false
	}
	u := p.unavailable("", "")
	u.Err = err
	if line := firstError(stderr); line != "" {
		u.Err = errors.New(line)
	}
	switch {
	case has("No pinentry", "no pinentry", "Inappropriate ioctl", "problem with the agent", "Operation cancelled", "Bad passphrase", "Timeout"):
		u.Reason, u.Locked = "gpg needs the passphrase of your key and could not ask for it", true
		u.Hint = "unlock the key first, for example with: pass show " + p.o.service() + "/…"
	case has("No secret key"):
		u.Reason = "the secret key that the password store is encrypted for is not here"
		u.Hint = "import it, or plug in the card that holds it"
	case has("No public key", "There is no assurance", "Unusable public key"):
		u.Reason = "gpg does not trust, or does not have, the key that the password store is encrypted for"
		u.Hint = "compare .gpg-id in " + p.dir() + " with: gpg --list-keys"
	case has("gpg: command not found", "gpg: not found"):
		u.Reason = "gpg is not installed"
	default:
		u.Reason = "pass reports an error"
	}
	return u
}

// firstError is the first line that says what went wrong.
func firstError(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "gpg: encrypted with") || line == "" || strings.HasPrefix(line, `"`) {
			continue
		}
		return line
	}
	return ""
}
