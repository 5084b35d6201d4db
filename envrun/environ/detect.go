package environ

import (
	"bytes"
	"path"
	"strings"
)

// DetectFormat says which of the formats that Import reads a file is in, by its
// name and how it begins; a few KiB of head are enough. FormatUnknown if
// neither tells. Standard input is "" or "-".
//
// The name decides between dotenv, JSON and YAML, the text which YAML or JSON
// it is. Docker's env files have no mark of their own: they are taken for
// Dotenv.
func DetectFormat(filename string, head []byte) Format {
	head = bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF"))
	base := strings.ToLower(path.Base(strings.ReplaceAll(filename, `\`, "/")))
	ext := path.Ext(base)
	switch {
	case base == "env", base == ".envrc", ext == ".env", strings.HasPrefix(base, ".env."), strings.HasPrefix(base, ".env-"):
		return Dotenv
	case ext == ".json":
		return detectJSON(head)
	case ext == ".yaml", ext == ".yml":
		stem := strings.TrimPrefix(strings.TrimSuffix(base, ext), "docker-")
		if stem == "compose" || strings.HasPrefix(stem, "compose.") || strings.HasPrefix(stem, "compose-") {
			return Compose
		}
		return detectYAML(head)
	}
	return detectText(head)
}

// detectJSON tells a manifest from other JSON: kubectl writes apiVersion first.
func detectJSON(head []byte) Format {
	rest := bytes.TrimLeft(head, " \t\r\n{")
	if bytes.HasPrefix(rest, []byte(`"apiVersion"`)) || bytes.HasPrefix(rest, []byte(`"kind"`)) {
		return K8s
	}
	return JSON
}

// detectYAML looks at the keys at the left margin.
func detectYAML(head []byte) Format {
	if json := bytes.TrimLeft(head, " \t\r\n"); bytes.HasPrefix(json, []byte("{")) {
		if detectJSON(json) == K8s {
			return K8s
		}
		return YAML
	}
	for line := range bytes.Lines(head) {
		switch key, _, _ := bytes.Cut(line, []byte(":")); string(key) {
		case "apiVersion":
			return K8s
		case "services":
			return Compose
		}
	}
	return YAML
}

// detectText judges by the first line that is neither empty nor a comment.
func detectText(head []byte) Format {
	for line := range bytes.Lines(head) {
		text := strings.TrimSpace(string(line))
		switch {
		case text == "" || text[0] == '#':
			continue
		case text[0] == '{':
			return detectJSON(head)
		case text == "---" || strings.HasPrefix(text, "%YAML"):
			return detectYAML(head)
		}
		text = strings.TrimLeft(strings.TrimPrefix(text, "export "), " \t")
		end := strings.IndexAny(text, ":= \t")
		if end <= 0 || fieldName(text[:end]) == "" {
			return FormatUnknown
		}
		switch sep := strings.TrimLeft(text[end:], " \t"); {
		case strings.HasPrefix(sep, "="):
			return Dotenv
		case sep == ":" || strings.HasPrefix(sep, ": "):
			return detectYAML(head)
		}
		return FormatUnknown
	}
	return FormatUnknown
}
