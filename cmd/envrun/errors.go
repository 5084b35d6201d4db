package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/cmd/internal/cli"
	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/envrun/resolve"
	"envrun/envrun/run"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
)

// explainers say the words for errors that have more than a kind: what
// happened stays as the package said it, the next command is added here.
func explainers() []func(error, *cli.Report) bool {
	return []func(error, *cli.Report) bool{explainPlan, explainRun, explainProject, explainSize, explainChoice, explainSession, explainKeychain, explainIdentity, explainTrust, explainMember, explainMerge, explainAuditLog, explainPolicyServer, explainSignIn, explainServer, explainAudit, explainPolicy}
}

// explainPlan is about what a command was to get.
func explainPlan(err error, r *cli.Report) bool {
	var plan *resolve.ProblemError
	if !errors.As(err, &plan) {
		return false
	}
	r.Code = cli.CodeMissing
	for _, m := range plan.Missing {
		for _, near := range m.Near {
			r.AddHint("did you mean %s?", near)
		}
		switch {
		case m.What == resolve.MissingSelection:
		case m.Field != "" || m.Name != "" && m.Path != "":
			name := string(m.Field)
			if name == "" {
				name = m.Name
			}
			for _, at := range m.At {
				r.AddHint("%s has a field %s", at, name)
			}
			r.AddHint("envrun set -e %s %s/%s", m.Env, m.Path, name)
		case m.Path != "":
			r.AddHint("envrun set -e %s %s/NAME, or optional = true in its rule", m.Env, m.Path)
		default:
			r.AddHint("envrun set -e %s %s", m.Env, m.Name)
		}
		if len(m.Elsewhere) > 0 {
			r.AddHint("it is in %s: envrun copy %s:%s %s:", cli.Join(m.Elsewhere), m.Elsewhere[0], m.Path, m.Env)
		}
		if m.What == resolve.MissingSecret {
			r.AddHint("if it was there: envrun history -e %s %s", m.Env, m.Path)
		}
	}
	if len(plan.Missing) == 0 {
		r.Code = cli.CodePolicy
	}
	var allow []string
	for _, f := range plan.Refused {
		if f.Allowable {
			allow = append(allow, strconv.Quote(f.Name))
		}
	}
	if len(allow) > 0 {
		r.AddHint("if that is meant, at the top of envrun.toml: allow_names = [%s]", strings.Join(allow, ", "))
	}
	for _, i := range plan.Invalid {
		switch {
		case i.NUL:
			r.AddHint("a [[file]] rule in envrun.toml delivers %s as a file", i.Name)
		case i.Source.From != resolve.FromVault:
			r.AddHint("name it %s", i.Suggest)
		default:
			r.AddHint("rename it for the command: rename = { %q = %q } in an [[inject]] rule with path = %q", i.Name, i.Suggest, i.Source.Path)
			r.AddHint("or remove it: envrun rm %s/%s", i.Source.Path, i.Source.Field)
		}
	}
	return true
}

// explainRun is about a command that was not started.
func explainRun(err error, r *cli.Report) bool {
	var e *run.Error
	if !errors.As(err, &e) {
		return false
	}
	r.Code = cli.CodeFailed
	switch e.Reason {
	case run.ReasonSize:
		return explainSize(err, r)
	case run.ReasonUsage:
		r.Code = cli.CodeUsage
	case run.ReasonExec:
		r.Code = cli.CodeUsage
		r.AddHint("leave out --exec, or see what needs a supervisor: envrun explain -- COMMAND")
	case run.ReasonNotFound:
		if !strings.ContainsRune(e.Program, '/') {
			r.AddHint("it is looked up in the PATH that the command gets")
		}
	case run.ReasonRelative:
		r.AddHint("to run the file here: envrun -- ./%s", cli.Quote(e.Program))
	case run.ReasonNotExecutable:
		r.AddHint("ls -l %s", r.Path(e.Found))
	case run.ReasonInterpreter:
		r.AddHint("head -1 %s", r.Path(e.Found))
	case run.ReasonFiles:
		r.AddHint("set XDG_RUNTIME_DIR to a folder in memory, or try --memfd")
	}
	return true
}

func explainProject(err error, r *cli.Report) bool {
	var none *project.NoProjectError
	var env *project.EnvError
	var bad *project.Error
	switch {
	case errors.As(err, &none):
		r.Code = cli.CodeConfig
		r.AddHint("set this project up: envrun init")
	case errors.As(err, &env):
		r.Code = cli.CodeConfig
		switch {
		case env.Nearest != "":
			r.AddHint("use %s", env.Nearest)
		case env.Name == "":
			r.AddHint("-e ENV, or default = \"ENV\" in %s", env.File)
		default:
			r.AddHint("envrun env list")
			r.AddHint("to make it: envrun env add %s", cli.Quote(env.Name))
		}
	case errors.As(err, &bad):
		r.Code = cli.CodeConfig
		if bad.Kind == vault.KindInsecure {
			r.Code = cli.CodePolicy
			r.AddHint("who owns it, and who may write it: ls -l %s", r.Path(bad.Pos.File))
			r.AddHint("if everybody may: chmod o-w %s", r.Path(bad.Pos.File))
			r.AddHint("if somebody else owns it and you trust them: envrun --config %s", r.Path(bad.Pos.File))
		} else if at := bad.Pos.String(); at != "" {
			r.AddHint("edit %s", cli.Quote(at))
		}
	default:
		return false
	}
	return true
}

func explainSize(err error, r *cli.Report) bool {
	var size *environ.SizeError
	if !errors.As(err, &size) {
		return false
	}
	r.Code = cli.CodeSize
	if size.What == environ.SizeOfVariable || size.What == environ.SizeOfTotal {
		r.AddHint("deliver the biggest as a file: a [[file]] rule in envrun.toml, whose variable holds the path")
		r.AddHint("or inject fewer: --only NAME, or only = [\"NAME\"] in an [[inject]] rule")
	}
	return true
}

// explainChoice is about a file with several things of which one is meant.
func explainChoice(err error, r *cli.Report) bool {
	var choose *environ.ChooseError
	if !errors.As(err, &choose) {
		return false
	}
	r.Code = cli.CodeConfig
	for _, name := range choose.Names {
		r.AddHint("add --service %s", name)
	}
	return true
}

func explainKeychain(err error, r *cli.Report) bool {
	var unavailable *keychain.UnavailableError
	var timeout *keychain.TimeoutError
	var lost *keychain.LostError
	switch {
	case errors.As(err, &unavailable):
		r.Code = cli.CodeAuth
		r.AddHint("%s", unavailable.Hint)
	case errors.As(err, &timeout):
		r.Code = cli.CodeOffline
		r.AddHint("unlock it in your desktop, or see what is the matter: envrun doctor")
	case errors.As(err, &lost):
		r.Code = cli.CodeAuth
		r.AddHint("keep the identity elsewhere: envrun key move file")
	default:
		return false
	}
	return true
}

func explainIdentity(err error, r *cli.Report) bool {
	var parse *agekey.ParseError
	var insecure *agekey.InsecureError
	var file *agekey.FileError
	var plugin *agekey.PluginError
	r.Code = cli.CodeAuth
	switch {
	case errors.Is(err, agekey.ErrNone):
		r.Message = "you have no identity on this machine to open a vault with"
		r.AddHint("make one: envrun key new")
		r.AddHint("or bring one: envrun key import FILE; in CI set ENVRUN_KEY")
	case errors.Is(err, agekey.ErrExists):
		r.Code = cli.CodeConflict
		r.AddHint("envrun key show")
	case errors.Is(err, agekey.ErrLocked), errors.Is(err, agekey.ErrPassphrase):
		r.AddHint("type it on a terminal, or put it into a file: export ENVRUN_PASSPHRASE_FILE=FILE")
	case errors.Is(err, agekey.ErrLost), errors.Is(err, agekey.ErrMismatch):
		r.AddHint("bring it back from a copy, or use the recovery identity: envrun key import FILE")
	case errors.Is(err, agekey.ErrBusy):
		r.Code = cli.CodeConflict
		r.AddHint("wait for it to end, and try again")
	case errors.Is(err, agekey.ErrFileOnly):
		r.Code = cli.CodeConfig
		r.AddHint("its keychain protects it already; to keep it in a file: envrun key move file")
	case errors.As(err, &insecure):
		r.Code = cli.CodePolicy
		if insecure.Owner == insecure.User {
			r.AddHint("chmod %o %s", insecure.Want, r.Path(insecure.File))
		} else {
			r.AddHint("ls -l %s", r.Path(insecure.File))
			r.AddHint("to use a folder of your own: export ENVRUN_CONFIG_DIR=FOLDER")
		}
	case errors.Is(err, agekey.ErrProtected):
		if errors.As(err, &file) {
			r.AddHint("move it away, and import it, which takes its passphrase off: envrun key import FILE")
		}
	case errors.As(err, &plugin) && plugin.Missing:
		r.AddHint("install age-plugin-%s in an absolute folder of PATH, then see what is found: envrun doctor", plugin.Plugin)
	case errors.As(err, &parse):
		r.Code = cli.CodeConfig
		switch parse.SSH {
		case agekey.SSHKind:
			r.AddHint("make an identity of envrun's own, which is post-quantum: envrun key new")
			r.AddHint("or an SSH key that can open things: ssh-keygen -t ed25519")
		case agekey.SSHCipher:
			r.AddHint("encrypt it anew, on a copy of the file: ssh-keygen -p -Z aes256-ctr -a 100 -f FILE")
		}
		if errors.As(err, &file) {
			r.AddHint("bring the file back from a copy: %s", r.Path(file.File))
		}
	default:
		r.Code = cli.CodeFailed
		return false
	}
	return true
}

func explainTrust(err error, r *cli.Report) bool {
	var untrusted *filevault.UntrustedError
	var replaced *filevault.ReplacedError
	var known *filevault.KnownError
	var pins *filevault.PinsError
	var older *filevault.OlderError
	switch {
	case errors.As(err, &untrusted):
		r.Code = cli.CodeAuth
		r.AddHint("compare the fingerprint with somebody who works with %s (envrun vault status), then: envrun vault trust -e %s %s", untrusted.Env, untrusted.Env, untrusted.Fingerprint)
	case errors.As(err, &replaced):
		r.Code = cli.CodeTampered
		where := ".envrun"
		if replaced.Known != "" {
			where += " envrun.toml"
		}
		r.AddHint("nothing of it was used; look at who replaced it: git log -- %s", where)
		r.AddHint("if a member made it anew and reads you this fingerprint: envrun vault trust -e %s %s", replaced.Env, replaced.Fingerprint)
	case errors.As(err, &pins) && vault.KindOf(err) == vault.KindMalformed:
		r.Code = cli.CodeTampered
		r.AddHint("it says which keys this machine knows, and is on no other; bring it back from a copy of yours")
		r.AddHint("if there is none, put it away (mv %s %s), and compare the fingerprints at the next use: envrun vault status", r.Path(pins.File), r.Path(pins.File+".old"))
	case errors.As(err, &older):
		r.Code = cli.CodeConflict
		r.AddHint("nothing was written; bring the newer state here: git pull, or git merge the branch that has it")
		r.AddHint("if it is not newer, somebody put the old one back: git log -- .envrun")
	case errors.Is(err, filevault.ErrStray):
		r.Code = cli.CodeTampered
		file := ""
		if ve := (*vault.Error)(nil); errors.As(err, &ve) {
			file = r.Path(ve.File)
		}
		r.AddHint("look at who put it there: git log -- %s", file)
		r.AddHint("remove it: git rm -r -- %s", file)
	case errors.As(err, &known):
		r.Code = cli.CodeConflict
		r.AddHint("bring it back: git checkout -- .envrun, or the branch that has it")
		r.AddHint("if it is gone for good: envrun env rm %s --yes=%s, then envrun env add %s", known.Env, known.Env, known.Env)
	default:
		return false
	}
	return true
}

// explainMerge is about what git's branches, reverts and rotations made of a vault.
func explainMerge(err error, r *cli.Report) bool {
	var undecided *undecidedError
	var left *leftError
	var keys *filevault.TwoKeysError
	var gone *filevault.RemovedEnvError
	var retired *engine.RetiredError
	var behind *engine.BehindSealError
	var ve *vault.Error
	errors.As(err, &ve)
	inMerge := errors.As(err, &left)
	switch {
	case errors.As(err, &undecided):
		undecided.explain(r)
	case errors.As(err, &keys):
		explainTwoKeys(keys, r)
	case errors.As(err, &retired) && inMerge:
		r.Code = cli.CodeTampered
		r.AddHint("only if %s was still welcome on %s: envrun vault merge --adopt", retired.By, retired.At.Format(time.DateOnly))
	case errors.As(err, &retired) && ve != nil:
		r.Code = cli.CodeTampered
		r.AddHint("nothing of it was used; only if %s was still welcome on %s: envrun vault adopt -e %s %s", retired.By, retired.At.Format(time.DateOnly), ve.Env, ve.Path)
		r.AddHint("name and date are its writer's word; who brought it: git log -- %s", r.Path(ve.File))
		r.AddHint("what else waits for it, and whether a rotation came here in part: envrun vault adopt")
	case errors.As(err, &behind) && ve != nil:
		explainBehind(behind, ve, r)
	case ve == nil || ve.Kind != vault.KindUnmerged:
		return false
	case errors.As(err, &gone):
		r.Code = cli.CodeConflict
		kept, dir := cmp.Or(gone.Kept, "COMMIT"), r.Path(gone.Dir)
		r.AddHint("to keep it: git restore --source=%s --staged --worktree -- %s, then envrun vault merge", kept, dir)
		r.AddHint("to remove it: git rm -rf -- %s", dir)
	case inMerge:
		r.Code = cli.CodeConflict
		file := r.Path(ve.File)
		r.AddHint("take one of them: git checkout --ours -- %s (or --theirs), then git add -- %s", file, file)
		r.AddHint("where the one to take has no such file: git rm -- %s", file)
	case path.Base(ve.File) == "vault.toml":
		r.Code = cli.CodeConflict
		dir := r.Path(path.Dir(ve.File))
		r.AddHint("both branches made a vault, and one of them must go: git restore --source=HEAD --staged --worktree -- %s (or --source=MERGE_HEAD), then set again what the other had", dir)
	default:
		r.Code = cli.CodeConflict
		r.AddHint("envrun vault merge")
	}
	return true
}

// explainBehind is about a record that the seal does not let pass. That happens
// by git's own commands more often than by an attack, and only the one who gave
// them knows.
func explainBehind(e *engine.BehindSealError, ve *vault.Error, r *cli.Report) {
	r.Code = cli.CodeTampered
	at := fmt.Sprintf("-e %s %s", ve.Env, ve.Path)
	switch {
	case e.Version == 0:
		r.AddHint("to have it again: envrun rollback %s --to %d, or, if git has it still: git checkout -- %s", at, e.Sealed, r.Path(ve.File))
		r.AddHint("if it is to go, have it again and then: envrun rm --secret %s", at)
	case e.Version == e.Sealed:
		r.AddHint("git merged what two people wrote, or one side was taken by hand; to put both together: envrun vault merge")
	case e.Deleted:
		r.AddHint("if it is to stay deleted: git rm -- %s", r.Path(ve.File))
		r.AddHint("to have it again, as a new version: envrun rollback %s --to %d", at, e.Version)
	default:
		r.AddHint("if that was a git revert, the same as a new version: envrun rollback %s --to %d", at, e.Version)
		r.AddHint("to have the sealed one again: envrun rollback %s --to %d", at, e.Sealed)
	}
	r.AddHint("nothing of it was used; if nobody of you did that, look at who did: git log -- %s", r.Path(ve.File))
}

// explainTwoKeys is about a key that both branches replaced: either way out in
// commands, and what is lost by it.
func explainTwoKeys(e *filevault.TwoKeysError, r *cli.Report) {
	r.Code = cli.CodeConflict
	way := func(name string, side, other filevault.KeySide) {
		commit := side.Commit
		if commit == "" {
			commit = "COMMIT"
		}
		r.AddHint("to take %s, the key by %s: git restore --source=%s --staged --worktree -- %s, then envrun vault merge", name, side.By, commit, r.Path(e.Dir))
		if len(other.Changed) > 0 {
			r.AddHint("    then write again by hand: %s", cli.Join(other.Changed))
		}
		if len(other.Members) > 0 {
			r.AddHint("    only the other lets in %s; whoever of them is to stay: envrun member add NAME RECIPIENT -e %s", cli.Join(other.Members), e.Env)
		}
		if len(side.Members) > 0 {
			r.AddHint("    the other does not let in %s; whoever was removed there: envrun member rm NAME -e %s", cli.Join(side.Members), e.Env)
		}
		r.AddHint("    and on machines that know the other key: envrun vault trust -e %s %s", e.Env, side.Fingerprint)
	}
	way("ours", e.Ours, e.Theirs)
	way("theirs", e.Theirs, e.Ours)
}
