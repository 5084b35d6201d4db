package environ

import (
	"fmt"
	"strings"

	"envrun/vault"
)

// Names by which a program can tell that envrun started it (runner C9).
const (
	MarkRun = "ENVRUN"     // "1"
	MarkEnv = "ENVRUN_ENV" // the environment
)

// CheckName says whether a variable of this name can be injected: a letter or
// "_", then letters, digits and "_", in ASCII (runner C5). The error is
// KindInvalid and quotes the name.
func CheckName(name string) error {
	if isName(name) {
		return nil
	}
	detail := fmt.Sprintf("%q is no name of an environment variable: only letters, digits and _, and no digit first", name)
	if name == "" {
		detail = "the name of an environment variable is empty"
	}
	return &vault.Error{Kind: vault.KindInvalid, Detail: detail}
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '_':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// Own says whether a variable is envrun's own: a credential or a setting that
// the child has no business with and does not get unless asked (runner C8).
// These are VAULT_TOKEN and every ENVRUN_ name except the marker ENVRUN_ENV.
// VAULT_ADDR, VAULT_CACERT and VAULT_NAMESPACE stay: they are addresses, not
// credentials, and programs of others read them too. Case does not count, so
// that one answer is right on every system.
//
// It is about what the child would inherit. A VAULT_TOKEN that comes from a
// vault, for the child's own use, is set after these are dropped.
func Own(name string) bool {
	if len(name) < len("ENVRUN_") {
		return false
	}
	up := strings.ToUpper(name)
	return up == "VAULT_TOKEN" || strings.HasPrefix(up, "ENVRUN_") && up != MarkEnv
}

// Refused says whether a variable of this name may come from a vault only when
// the project file allows it by name, and why (runner C4): who can write such
// a variable can make programs on this machine run other code, or send what
// they say elsewhere. The reason completes "NAME is refused: it ...".
//
// Case does not count, on every system: Windows does not tell Path from PATH,
// proxies are read in both spellings, and a project file must mean the same
// everywhere.
func Refused(name string) (reason string, refused bool) {
	switch up := strings.ToUpper(name); up {
	case "PATH", "PATHEXT", "COMSPEC":
		return "decides which programs run", true
	case "HOME", "USERPROFILE", "WINDIR", "SYSTEMROOT", "ZDOTDIR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS":
		return "decides where programs look for their settings", true
	case "SHELL", "EDITOR", "VISUAL", "PAGER", "MANPAGER", "BROWSER", "LESSOPEN", "LESSCLOSE",
		"GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_ASKPASS", "SSH_ASKPASS", "SUDO_ASKPASS",
		"GIT_SSH", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_EXEC_PATH", "RSYNC_RSH", "RSYNC_CONNECT_PROG",
		"RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER":
		return "names a program that others start", true
	case "IFS", "ENV", "BASH_ENV", "PS0", "PS1", "PS2", "PS4", "PROMPT_COMMAND", "SHELLOPTS", "BASHOPTS", "BASH_XTRACEFD", "CDPATH", "GLOBIGNORE", "FPATH":
		return "makes a shell run or read something else", true
	case "GCONV_PATH", "LOCPATH", "GETCONF_DIR", "HOSTALIASES", "NLSPATH", "RES_OPTIONS", "GLIBC_TUNABLES":
		return "changes what the C library loads", true
	case "NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE", "BUN_OPTIONS",
		"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR",
		"PERL5OPT", "PERL5LIB", "PERLLIB", "PERL5DB", "RUBYOPT", "RUBYLIB", "BUNDLE_GEMFILE",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "JAVA_OPTS", "MAVEN_OPTS", "GRADLE_OPTS",
		"PHPRC", "PHP_INI_SCAN_DIR", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "R_PROFILE", "R_PROFILE_USER", "R_ENVIRON",
		"DOTNET_STARTUP_HOOKS", "DOTNET_ADDITIONAL_DEPS", "PSMODULEPATH", "MAKEFLAGS", "GNUMAKEFLAGS", "GOFLAGS", "GOTOOLCHAIN", "ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS",
		"OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES":
		return "makes an interpreter or library load other code", true
	case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY":
		return "sends traffic through another machine", true
	case "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "PYTHONHTTPSVERIFY":
		return "decides whose certificates are trusted", true
	case "SSLKEYLOGFILE":
		return "writes the keys of encrypted traffic to a file", true
	case MarkRun:
		return "is how envrun marks a run", true
	default:
		switch {
		case strings.HasPrefix(up, "LD_"), strings.HasPrefix(up, "DYLD_"):
			return "changes what the dynamic linker loads", true
		case strings.HasPrefix(up, "SSL_CERT_"):
			return "decides whose certificates are trusted", true
		case strings.HasPrefix(up, "GIT_CONFIG"), up == "GIT_TEMPLATE_DIR":
			return "gives git other settings, which can name programs to run", true
		case strings.HasPrefix(up, "COR_PROFILER"), strings.HasPrefix(up, "CORECLR_PROFILER"), strings.HasSuffix(up, "_ENABLE_PROFILING"):
			return "makes .NET load other code", true
		case strings.HasPrefix(up, "BASH_FUNC_"):
			return "makes a shell run or read something else", true
		case strings.HasPrefix(up, "ENVRUN_"):
			return "is a setting of envrun itself", true
		}
	}
	return "", false
}
