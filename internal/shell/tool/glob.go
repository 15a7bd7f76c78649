package tool

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// matchGlob is fnmatch(3) without flags: a star matches slashes and dots, too.
func matchGlob(pattern, s string, fold bool) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			return matchStar(strings.TrimLeft(pattern, "*"), s, fold)
		case '?':
			if s == "" {
				return false
			}
			_, n := utf8.DecodeRuneInString(s)
			pattern, s = pattern[1:], s[n:]
			continue
		case '[':
			if s == "" {
				return false
			}
			if rest, ok, valid := matchSet(pattern, s, fold); valid {
				if !ok {
					return false
				}
				_, n := utf8.DecodeRuneInString(s)
				pattern, s = rest, s[n:]
				continue
			}
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
		}
		p, n := utf8.DecodeRuneInString(pattern)
		r, m := utf8.DecodeRuneInString(s)
		if s == "" || !sameRune(p, r, fold) {
			return false
		}
		pattern, s = pattern[n:], s[m:]
	}
	return s == ""
}

// matchStar matches what is behind a star.
func matchStar(pattern, s string, fold bool) bool {
	for i := range len(s) + 1 {
		if pattern == "" || matchGlob(pattern, s[i:], fold) {
			return true
		}
	}
	return false
}

func sameRune(a, b rune, fold bool) bool {
	return a == b || fold && unicode.ToLower(a) == unicode.ToLower(b)
}

// matchSet matches the set in brackets at the beginning of the pattern, and
// returns the pattern behind it. It is not valid if nothing closes it.
func matchSet(pattern, s string, fold bool) (rest string, ok, valid bool) {
	r, _ := utf8.DecodeRuneInString(s)
	if fold {
		r = unicode.ToLower(r)
	}
	set := pattern[1:]
	invert := set != "" && (set[0] == '!' || set[0] == '^')
	if invert {
		set = set[1:]
	}
	for first := true; set != ""; first = false {
		if set[0] == ']' && !first {
			return set[1:], ok != invert, true
		}
		if name, after, found := strings.Cut(set, ":]"); found && strings.HasPrefix(name, "[:") {
			ok = ok || inClass(name[2:], r)
			set = after
			continue
		}
		low, n := utf8.DecodeRuneInString(set)
		set = set[n:]
		high := low
		if len(set) > 1 && set[0] == '-' && set[1] != ']' {
			high, n = utf8.DecodeRuneInString(set[1:])
			set = set[1+n:]
		}
		if fold {
			low, high = unicode.ToLower(low), unicode.ToLower(high)
		}
		ok = ok || low <= r && r <= high
	}
	return "", false, false
}

// inClass is whether r is in a class such as alpha.
func inClass(name string, r rune) bool {
	switch name {
	case "alpha":
		return unicode.IsLetter(r)
	case "digit":
		return r >= '0' && r <= '9'
	case "alnum":
		return unicode.IsLetter(r) || unicode.IsDigit(r)
	case "upper":
		return unicode.IsUpper(r)
	case "lower":
		return unicode.IsLower(r)
	case "space":
		return unicode.IsSpace(r)
	case "blank":
		return r == ' ' || r == '\t'
	case "punct":
		return unicode.IsPunct(r) || unicode.IsSymbol(r)
	case "print":
		return unicode.IsPrint(r)
	case "graph":
		return unicode.IsGraphic(r) && r != ' '
	case "cntrl":
		return unicode.IsControl(r)
	case "xdigit":
		return strings.ContainsRune("0123456789abcdefABCDEF", r)
	}
	return false
}
