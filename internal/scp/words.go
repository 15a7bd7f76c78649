package scp

import (
	"slices"
	"strings"
)

// A pattern is a word of a command line in which a backslash stands before each
// character that a shell must not give a meaning to.
type pattern string

// special are the characters that would have one.
const special = `\*?[]{},~=`

// quote is the pattern of a literal text.
func quote(text string) pattern {
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(special, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return pattern(b.String())
}

// literal is the text of a pattern in which nothing is expanded.
func (p pattern) literal() string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '\\' && i+1 < len(p) {
			i++
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// magic tells whether the pattern could be more than one word.
func (p pattern) magic() bool { return p.live('*') || p.live('?') || p.live('[') || p.live('{') }

// live tells whether a character is in it with its meaning.
func (p pattern) live(c byte) bool { return p.index(c) >= 0 }

// index is where a character with its meaning is; -1 if nowhere.
func (p pattern) index(c byte) int {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case c:
			return i
		}
	}
	return -1
}

// assigns tells whether a command's first word would set a variable.
func (p pattern) assigns() bool { return p.index('=') > 0 }

// split makes words of a command line, variables replaced. It is false if there
// is more in it than one command with its arguments.
func split(line string, env Environment) ([]pattern, bool) {
	s := splitter{rest: line, env: env}
	for s.next() {
	}
	if s.odd || strings.ContainsRune(line, 0) {
		return nil, false
	}
	s.end()
	return s.words, true
}

type splitter struct {
	rest  string
	env   Environment
	words []pattern
	word  strings.Builder
	open  bool // there is a word, if an empty one
	odd   bool // it takes a shell
}

func (s *splitter) end() {
	if s.open {
		s.words = append(s.words, pattern(s.word.String()))
	}
	s.word.Reset()
	s.open = false
}

// take takes n bytes from the rest.
func (s *splitter) take(n int) string {
	text := s.rest[:n]
	s.rest = s.rest[n:]
	return text
}

func (s *splitter) add(p pattern) {
	s.open = true
	s.word.WriteString(string(p))
}

// next reads one thing; false at the end, and where a shell is needed.
func (s *splitter) next() bool {
	if s.rest == "" {
		return false
	}
	switch c := s.rest[0]; c {
	case ' ', '\t':
		s.take(1)
		s.end()
	case '\'':
		s.take(1)
		end := strings.IndexByte(s.rest, '\'')
		if end < 0 {
			return s.fail()
		}
		s.add(quote(s.take(end)))
		s.take(1)
	case '"':
		s.take(1)
		return s.quoted()
	case '\\':
		if len(s.rest) < 2 || s.rest[1] == '\n' {
			return s.fail()
		}
		s.add(quote(s.take(2)[1:]))
	case '$':
		// Not split at spaces, as a shell would: no client means that.
		value, ok := s.variable("({'\"@*#?-$!0123456789")
		if !ok {
			return false
		}
		s.add(unquoted(value))
	case '\n', '`', '|', '&', ';', '<', '>', '(', ')':
		return s.fail()
	case '#':
		if !s.open {
			return s.fail()
		}
		s.add(pattern(s.take(1)))
	case '~':
		if s.open { // it has its meaning at the beginning only
			s.add(quote(s.take(1)))
		} else {
			s.add(pattern(s.take(1)))
		}
	default:
		s.add(pattern(s.take(1)))
	}
	return true
}

func (s *splitter) fail() bool {
	s.odd = true
	return false
}

// quoted reads the rest of what is between double quotes.
func (s *splitter) quoted() bool {
	s.open = true
	for s.rest != "" {
		switch c := s.rest[0]; c {
		case '"':
			s.take(1)
			return true
		case '`':
			return s.fail()
		case '$':
			value, ok := s.variable("({@*#?-$!0123456789")
			if !ok {
				return false
			}
			s.add(quote(value))
		case '\\':
			if len(s.rest) > 1 && strings.IndexByte("$`\"\\", s.rest[1]) >= 0 {
				s.take(1)
			}
			s.add(quote(s.take(1)))
		default:
			s.add(quote(s.take(1)))
		}
	}
	return s.fail()
}

// variable reads $NAME or ${NAME}; a lone dollar is one. odd are the characters
// that make something else of it.
func (s *splitter) variable(odd string) (value string, ok bool) {
	s.take(1)
	braces := strings.HasPrefix(s.rest, "{")
	if braces {
		s.take(1)
	}
	n := 0
	for n < len(s.rest) && (s.rest[n] == '_' || isLetter(s.rest[n]) || n > 0 && '0' <= s.rest[n] && s.rest[n] <= '9') {
		n++
	}
	name := s.take(n)
	switch {
	case braces && (name == "" || !strings.HasPrefix(s.rest, "}")):
		return "", s.fail()
	case braces:
		s.take(1)
	case name == "" && s.rest != "" && strings.IndexByte(odd, s.rest[0]) >= 0:
		return "", s.fail()
	case name == "":
		return "$", true
	}
	if s.env.Getenv == nil {
		return "", true
	}
	return s.env.Getenv(name), true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// unquoted is a variable's value outside of quotes: only wildcards in it have
// their meaning.
func unquoted(value string) pattern {
	var b strings.Builder
	for i := range len(value) {
		if strings.IndexByte(special, value[i]) >= 0 && !slices.Contains([]byte("*?[]"), value[i]) {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return pattern(b.String())
}
