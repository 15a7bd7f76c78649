package tool

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A replacement is the second part of s/pattern/text/.
type replacement []replacementPart

// A replacementPart is a text, a group of the match (group is not -1), or a
// change of case from there on: U, L, E, u or l.
type replacementPart struct {
	text  string
	group int
	fold  byte
}

// parseReplacement reads & for the match, \1 to \9 for groups, \n for a newline.
func parseReplacement(s string) (replacement, error) {
	var r replacement
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			r = append(r, replacementPart{text: text.String(), group: -1})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '&':
			flush()
			r = append(r, replacementPart{group: 0})
		case s[i] != '\\':
			text.WriteByte(s[i])
		case i+1 == len(s):
			return nil, errors.New("the replacement ends with a backslash")
		default:
			i++
			switch ch := s[i]; {
			case ch >= '0' && ch <= '9':
				flush()
				r = append(r, replacementPart{group: int(ch - '0')})
			case strings.IndexByte("ULEul", ch) >= 0:
				flush()
				r = append(r, replacementPart{group: -1, fold: ch})
			case ch == 'n':
				text.WriteByte('\n')
			case ch == 't':
				text.WriteByte('\t')
			default:
				text.WriteByte(ch)
			}
		}
	}
	flush()
	return r, nil
}

// check is whether a pattern has the groups that are asked for.
func (r replacement) check(re *regexp.Regexp) error {
	for _, p := range r {
		if p.group > re.NumSubexp() {
			return errors.New("the pattern has not that many groups")
		}
	}
	return nil
}

// expand is what replaces a match; loc is as FindSubmatchIndex returns it.
func (r replacement) expand(line string, loc []int) string {
	var b strings.Builder
	var fold, once byte
	for _, p := range r {
		text := p.text
		switch {
		case p.fold == 'u' || p.fold == 'l':
			once = p.fold
			continue
		case p.fold != 0:
			fold = p.fold
			continue
		case p.group >= 0 && 2*p.group+1 < len(loc) && loc[2*p.group] >= 0:
			text = line[loc[2*p.group]:loc[2*p.group+1]]
		}
		switch fold {
		case 'U':
			text = strings.ToUpper(text)
		case 'L':
			text = strings.ToLower(text)
		}
		if once != 0 && text != "" {
			first, n := utf8.DecodeRuneInString(text)
			if once == 'u' {
				first = unicode.ToUpper(first)
			} else {
				first = unicode.ToLower(first)
			}
			text, once = string(first)+text[n:], 0
		}
		b.WriteString(text)
	}
	return b.String()
}

// replace replaces the nth match in a line, and with all those behind it. It
// returns how many.
func (r replacement) replace(re *regexp.Regexp, line string, nth int, all bool) (string, int) {
	limit := nth
	if all {
		limit = -1
	}
	found := re.FindAllStringSubmatchIndex(line, limit)
	if len(found) < nth {
		return line, 0
	}
	var b strings.Builder
	at := 0
	for _, loc := range found[nth-1:] {
		b.WriteString(line[at:loc[0]])
		b.WriteString(r.expand(line, loc))
		at = loc[1]
	}
	b.WriteString(line[at:])
	return b.String(), len(found) - nth + 1
}

// splitScript splits /a/b/c at its first character into n parts; the last may be
// missing. A backslash keeps the character in a part.
func splitScript(s string, n int) ([]string, error) {
	if s == "" || s[0] == '\\' || s[0] == '\n' {
		return nil, errors.New("it needs the form /pattern/text/")
	}
	mark, size := utf8.DecodeRuneInString(s)
	parts, word := []string{}, strings.Builder{}
	set := false // in a bracket expression
	rest := s[size:]
	for i := 0; i < len(rest); {
		r, w := utf8.DecodeRuneInString(rest[i:])
		switch {
		case r == '\\' && i+w < len(rest):
			following, fw := utf8.DecodeRuneInString(rest[i+w:])
			if following != mark || strings.ContainsRune(`|.*[]^$+?(){}`, mark) && len(parts) == 0 {
				word.WriteByte('\\')
			}
			word.WriteString(rest[i+w : i+w+fw])
			i += w + fw
			continue
		case r == mark && !set:
			parts = append(parts, word.String())
			word.Reset()
			if i += w; len(parts) == n-1 {
				parts = append(parts, rest[i:])
				return parts, nil
			}
			continue
		case len(parts) == 0 && r == '[' && !set:
			set = true
			if after := strings.TrimPrefix(rest[i+1:], "^"); strings.HasPrefix(after, "]") { // it stands for itself
				k := len(rest[i:]) - len(after) + 1
				word.WriteString(rest[i : i+k])
				i += k
				continue
			}
		case r == ']':
			set = false
		}
		word.WriteString(rest[i : i+w])
		i += w
	}
	parts = append(parts, word.String())
	for len(parts) < n {
		parts = append(parts, "")
	}
	return parts, nil
}
