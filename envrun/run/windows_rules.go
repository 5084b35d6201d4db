package run

import (
	"strconv"
	"strings"
)

// The rules of Windows that need no Windows: kept apart so that every system tests
// them.

// lookWindows finds the file of a program as cmd.exe would (runner W4), but never
// in the current directory unless name says so. path and pathext are the variables;
// isFile says whether there is a file.
func lookWindows(name, path, pathext string, isFile func(string) bool) (string, *Error) {
	exts := strings.FieldsFunc(strings.ToLower(pathext), func(r rune) bool { return r == ';' })
	if len(exts) == 0 {
		exts = []string{".com", ".exe", ".bat", ".cmd"}
	}
	for i, ext := range exts {
		if ext[0] != '.' {
			exts[i] = "." + ext
		}
	}
	try := func(file string) string {
		for _, ext := range exts {
			if strings.HasSuffix(strings.ToLower(file), ext) && isFile(file) {
				return file
			}
		}
		for _, ext := range exts {
			if isFile(file + ext) {
				return file + ext
			}
		}
		return ""
	}
	notFound := &Error{Code: CodeNotFound, Reason: ReasonNotFound, Program: name, Detail: "command not found"}
	if strings.ContainsAny(name, `\/:`) {
		if file := try(name); file != "" {
			return file, nil
		}
		if isFile(name) {
			return "", &Error{Code: CodeCannotRun, Reason: ReasonFormat, Program: name, Found: name,
				Detail: "its extension is none that PATHEXT names: " + strings.Join(exts, " ")}
		}
		notFound.Detail = "no such file"
		return "", notFound
	}
	for dir := range strings.SplitSeq(path, ";") {
		dir = strings.ReplaceAll(dir, `"`, "")
		if dir == "" {
			continue // on Windows an empty entry means nothing
		}
		file := try(strings.TrimRight(dir, `\/`) + `\` + name)
		switch {
		case file == "":
		case absWindows(dir):
			return file, nil
		default:
			if !strings.HasPrefix(file, ".") {
				file = `.\` + file
			}
			return "", &Error{Code: CodeNotFound, Reason: ReasonRelative, Program: name, Found: file,
				Detail: "is in a folder that PATH names without its full path, and is not looked for there; write " + file}
		}
	}
	return "", notFound
}

// absWindows says whether a path means the same wherever one stands.
func absWindows(dir string) bool {
	slash := func(i int) bool { return len(dir) > i && (dir[i] == '\\' || dir[i] == '/') }
	return slash(0) && slash(1) || len(dir) > 2 && dir[1] == ':' && slash(2)
}

// batchLine is the command line with which cmd.exe, at the path cmd, runs a batch
// file. cmd.exe takes a line apart by rules of its own, in which an argument can
// become a command. Between quotes all that is left of that is %, which no
// quoting keeps from being replaced, and the quote itself: those are refused.
func batchLine(cmd, program, file string, args []string) (string, *Error) {
	var b strings.Builder
	b.WriteString(`"` + cmd + `" /d /v:off /s /c "`)
	for i, arg := range append([]string{file}, args...) {
		if j := strings.IndexAny(arg, "%\"\r\n\x00"); j >= 0 {
			return "", &Error{Code: CodeCannotRun, Reason: ReasonBatch, Program: program, Found: file,
				Detail: "is a batch file, which could take an argument with % or a quote or a line end for a command; argument " + strconv.Itoa(i) + " has one"}
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		// A program that the batch file hands "C:\" on to would take \" for a
		// quote.
		tail := arg[len(strings.TrimRight(arg, `\`)):]
		b.WriteString(`"` + arg + tail + `"`)
	}
	b.WriteByte('"')
	return b.String(), nil
}

// shellLine is the command line with which cmd.exe runs a line.
func shellLine(cmd, line string) string { return `"` + cmd + `" /d /s /c "` + line + `"` }
