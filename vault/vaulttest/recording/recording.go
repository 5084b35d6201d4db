// Package recording compares what a server or a client says with what was recorded
// of another, where ids and times are other ones: in a recording they have become
// placeholders such as <UUID-3>, which stand for the same text wherever they come
// again.
//
// It refuses to be lenient: what is missing, more or another is named, but for the
// few fields that one of the recorded servers sends and the other does not.
package recording

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Placeholder matches what stands in the place of an id or a time.
var Placeholder = regexp.MustCompile(`<[A-Z_]+(?:[-~][0-9]+)?>`)

var ids = regexp.MustCompile(`^[a-z]+(_[a-z]+)?_[0-9a-f]{8}$`) // accessors that were not replaced in the recordings

// named is an object with what stands for placeholders that are names in it.
func named(want map[string]any, bound map[string]string) map[string]any {
	out := make(map[string]any, len(want))
	for name, v := range want {
		if is, ok := bound[name]; ok {
			name = is
		}
		out[name] = v
	}
	return out
}

// Compare says in what got differs from what was recorded, at a path within it. bound
// is what stands for which Placeholder so far; numbers are json.Number.
func Compare(at string, want, got any, bound map[string]string) []string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %s, not an object", at, short(got))}
		}
		var out []string
		want = named(want, bound)
		for name, w := range want {
			switch name {
			case "mount_type", "client_id", "removed_from_cluster":
				continue // one server sends it, the other does not; which token it was; raft's
			case "version", "running_plugin_version", "build_date", "storage_type":
				if _, text := g[name].(string); text {
					continue // of the program that answered
				}
			}
			v, there := g[name]
			if !there {
				out = append(out, strings.TrimPrefix(at+"."+name, ".")+" is missing")
				continue
			}
			out = append(out, Compare(at+"."+name, w, v, bound)...)
		}
		for name := range g {
			if _, there := want[name]; !there && name != "mount_type" && name != "client_id" {
				out = append(out, strings.TrimPrefix(at+"."+name, ".")+" is more")
			}
		}
		slices.Sort(out)
		return out
	case []any:
		g, ok := got.([]any)
		if ok && len(g) != len(want) && at == ".keys" { // of init, of which the recording keeps one
			return nil
		}
		if ok && strings.HasPrefix(at, ".keys") {
			return nil
		}
		if ok && len(g) != len(want) {
			return []string{fmt.Sprintf("%s has %d elements, not %d", strings.TrimPrefix(at, "."), len(g), len(want))}
		}
		if !ok {
			return []string{fmt.Sprintf("%s is %s, not %s", strings.TrimPrefix(at, "."), short(got), short(want))}
		}
		var out []string
		for i := range want {
			out = append(out, Compare(fmt.Sprintf("%s[%d]", at, i), want[i], g[i], bound)...)
		}
		return out
	case string:
		if same(want, got, bound) {
			return nil
		}
	case json.Number:
		if n, ok := got.(json.Number); ok && n == want {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %s, not %s", strings.TrimPrefix(at, "."), short(got), short(want))}
}

// same says whether a text is what was recorded, or what stands in its place.
func same(want string, got any, bound map[string]string) bool {
	text, isText := got.(string)
	switch {
	case want == "<TIME>":
		_, err := time.Parse(time.RFC3339Nano, text)
		return isText && err == nil && strings.HasSuffix(text, "Z")
	case want == "<UNIX>":
		n, ok := got.(json.Number)
		return ok && len(n) == 10
	case strings.HasPrefix(want, "<TTL~"):
		n, ok := got.(json.Number)
		w, _ := strconv.Atoi(strings.Trim(want, "<TL~>"))
		v, err := strconv.Atoi(string(n))
		return ok && err == nil && v >= w-5 && v <= w+5
	case Placeholder.FindString(want) == want && want != "":
		if !isText || text == "" {
			return false
		}
		if have, ok := bound[want]; ok {
			return have == text
		}
		bound[want] = text
		return true
	case ids.MatchString(want):
		return ids.MatchString(text)
	}
	if !isText {
		return false
	}
	return Placeholder.ReplaceAllStringFunc(want, func(p string) string {
		if v, ok := bound[p]; ok {
			return v
		}
		return p
	}) == text
}

func short(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(text) > 200 {
		return string(text[:200]) + "…"
	}
	return string(text)
}
