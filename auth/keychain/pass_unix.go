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

	"envrun/auth"
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
// ctx ends: gpg would go on waiting for its passphrase. The pinentry is no
// child of gpg but of its agent, which other programs use as well; agents that
// do not end it when gpg goes leave it to be answered.
func (p pass) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	out, err := p.exec(ctx, stdin, "pass", args...)
	var failed *passError
	if errors.As(err, &failed) {
		err = p.explain(ctx, failed)
	}
	return out, err
}

// passError is a program that ended with an error, and what it said.
type passError struct {
	stderr string
	err    error
}

func (e *passError) Error() string { return e.err.Error() }

func (p pass) exec(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	cmd.Env = append(auth.ForOthers(os.Environ()), p.env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// An agent that gpg starts may keep our pipes open for a while after gpg
	// has ended. All that there was to read has been read by then.
	cmd.WaitDelay = graceAfter / 2
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		clear(stdout.Bytes())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &passError{stderr.String(), err}
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
	opts := p.o.getenv("PASSWORD_STORE_GPG_OPTS") + " --status-fd 2" // for explain
	if !p.o.Interactive || tty == "" && !p.session.Graphical {
		opts += " --pinentry-mode error"
	}
	return append(env, "PASSWORD_STORE_GPG_OPTS="+strings.TrimSpace(opts))
}

func (p pass) unavailable(reason, hint string) *UnavailableError {
	return &UnavailableError{Keychain: Pass, Reason: reason, Hint: hint}
}

// explain sorts what gpg and pass say on stderr, which holds no secret.
func (p pass) explain(ctx context.Context, e *passError) error {
	u := p.unavailable("pass reports an error", "")
	u.Err = e.err
	if line := firstError(e.stderr); line != "" {
		u.Err = errors.New(line)
	}
	status := func(word string) (rest string, ok bool) {
		_, rest, ok = strings.Cut("\n"+e.stderr, "\n[GNUPG:] "+word)
		rest, _, _ = strings.Cut(rest, "\n")
		return strings.TrimSpace(rest), ok
	}
	to, _ := status("ENC_TO ")
	id, _, _ := strings.Cut(to, " ")
	_, failed := status("DECRYPTION_FAILED")
	_, refused := status("INV_RECP ")
	switch {
	case failed && id != "" && p.hasSecretKey(ctx, id):
		// gpg says "No secret key" for a passphrase that it did not get, too.
		u.Reason, u.Locked = "gpg needs the passphrase of your key and did not get it", true
		u.Hint = "unlock the key with gpg or pass first, so that its agent knows the passphrase"
	case failed:
		u.Reason = "the secret key that the password store is encrypted for is not here"
		u.Hint = "import the key, or plug in the card that holds it"
	case refused:
		u.Reason = "gpg does not have, or does not trust, the key that the password store is encrypted for"
		u.Hint = "compare .gpg-id in " + p.dir() + " with: gpg --list-keys"
	case strings.Contains(e.stderr, "gpg: command not found"), strings.Contains(e.stderr, "gpg: not found"):
		u.Reason = "gpg is not installed"
	}
	return u
}

// hasSecretKey reports whether gpg knows the secret half of a key.
func (p pass) hasSecretKey(ctx context.Context, id string) bool {
	_, err := p.exec(ctx, nil, "gpg", "--batch", "--with-colons", "--list-secret-keys", "--", id)
	return err == nil
}

// firstError is the first line that says what went wrong.
func firstError(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "[GNUPG:]") || strings.HasPrefix(line, "gpg: encrypted with") || strings.HasPrefix(line, `"`) {
			continue
		}
		return line
	}
	return ""
}
