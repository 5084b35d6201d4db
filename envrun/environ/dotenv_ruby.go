package environ

import "bytes"

// readRuby reads as the gem dotenv 3 does, but for two things: it expands
// nothing, and it does not look at its own environment.
func readRuby(text []byte) reading {
	l := lineRules{space: isRubySpace, nameChar: isRubyNameChar, quotes: `'"`, breaks: "\n", bareName: true}
	legacy := false // what DOTENV_LINEBREAK_MODE says for the lines after it
	seen := map[string]bool{}
	return readLines(text, l, func(r *reading, m match, line int) {
		name := string(m.name)
		switch {
		case m.exported && m.value == nil && m.valued && !seen[name]:
			r.bad(line, name, "is exported without a value, which the gem refuses; write =\"\"")
			return
		case !m.valued, m.exported && m.value == nil:
			// "export NAME=" is no more to the gem than "export NAME": the value stays.
			r.add(binding{name: name, line: line, bare: true})
			return
		}
		value := bytes.TrimFunc(m.value, isRubySpace)
		quote := byte(0)
		if len(value) > 0 && (value[0] == '\'' || value[0] == '"') {
			if quote = value[0]; len(value) < 2 || value[len(value)-1] != quote {
				r.bad(line, name, badQuote)
				return
			}
			value = value[1 : len(value)-1]
		}
		value = bytes.Clone(value)
		if quote == '"' && legacy {
			value = bytes.ReplaceAll(value, []byte(`\n`), []byte("\n"))
			value = bytes.ReplaceAll(value, []byte(`\r`), []byte("\r"))
		}
		expand := false
		if quote != '\'' {
			value = rubyUnescape(value, quote == '"' && !legacy)
			var command, variable bool
			value, command = rubyCommands(value)
			value, variable = rubyVariables(value)
			expand = command || variable
		}
		if name == "DOTENV_LINEBREAK_MODE" {
			legacy = string(value) == "legacy"
		}
		seen[name] = true
		r.add(binding{name: name, value: value, line: line, expand: expand})
	})
}

func isRubyNameChar(c byte) bool { return isWordChar(c) || c == '.' }

// isRubySpace is \s of Ruby.
func isRubySpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// rubyUnescape takes the backslash from every pair but \$. In double quotes \n
// and \r stay as they are: the library has long not made line ends of them.
func rubyUnescape(s []byte, keepLineEnds bool) []byte {
	out := s[:0]
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] != '$' {
			if keepLineEnds && (s[i+1] == 'n' || s[i+1] == 'r') {
				out = append(out, '\\')
			}
			i++
		}
		out = append(out, s[i])
	}
	return out
}

// rubyCommands takes the backslash from \$(…) and says whether there is a
// $(…) that would be run.
func rubyCommands(s []byte) (out []byte, found bool) {
	ends := parenEnds(s)
	for i := 0; i < len(s); i++ {
		at := i
		if s[at] == '\\' {
			at++
		}
		if at+1 < len(s) && s[at] == '$' && s[at+1] == '(' && ends[at+1] > 0 {
			found = found || at == i
			out = append(out, s[at:ends[at+1]+1]...)
			i = ends[at+1]
			continue
		}
		out = append(out, s[i])
	}
	return out, found
}

// parenEnds returns, for each "(" that is closed with something in between,
// the offset of its ")".
func parenEnds(s []byte) map[int]int {
	ends := map[int]int{}
	var open []int
	for i, c := range s {
		switch {
		case c == '(':
			open = append(open, i)
		case c == ')' && len(open) > 0:
			last := open[len(open)-1]
			open = open[:len(open)-1]
			if i > last+1 {
				ends[last] = i
			} else {
				open = nil // "()" matches nothing, nor does what holds it
			}
		}
	}
	return ends
}

// rubyVariables takes the backslash from \$ and says whether there is a $NAME
// or ${NAME} that would be expanded.
func rubyVariables(s []byte) (out []byte, found bool) {
	for i := 0; i < len(s); i++ {
		at := i
		if s[at] == '\\' {
			at++
		}
		if at >= len(s) || s[at] != '$' || at+1 < len(s) && s[at+1] == '(' {
			out = append(out, s[i])
			continue
		}
		end := at + 1
		if end < len(s) && s[end] == '{' {
			end++
		}
		name := end
		for end < len(s) && isWordChar(s[end]) {
			end++
		}
		named := end > name
		if end < len(s) && s[end] == '}' {
			end++
		}
		found = found || named && at == i
		out = append(out, s[at:end]...)
		i = end - 1
	}
	return out, found
}
