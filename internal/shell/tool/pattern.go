package tool

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// errBackreference is why some patterns cannot be used.
var errBackreference = errors.New("a pattern with a back-reference (\\1) is not supported")

// compile makes a regular expression of a POSIX one: basic, or extended. It
// matches as POSIX wants it: the leftmost, and of those the longest.
func compile(pattern string, extended, fold bool) (*regexp.Regexp, error) {
	text, err := translate(pattern, extended)
	if err != nil {
		return nil, err
	}
	if fold {
		text = "(?i:" + text + ")"
	}
	re, err := regexp.Compile("(?m)" + text)
	if err != nil {
		return nil, why(err)
	}
	re.Longest()
	return re, nil
}

// why leaves the pattern out of an error: the user has typed another one.
func why(err error) error {
	var bad *syntax.Error
	if errors.As(err, &bad) {
		return errors.New(bad.Code.String())
	}
	return err
}

// translate writes a POSIX pattern as package regexp reads it.
func translate(pattern string, extended bool) (string, error) {
	t := translator{in: pattern, extended: extended, start: true}
	for t.at < len(t.in) {
		if err := t.next(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

type translator struct {
	in       string
	at       int
	out      strings.Builder
	extended bool
	start    bool // of the pattern, of a group or of an alternative
}

func (t *translator) next() error {
	ch := t.in[t.at]
	start := t.start
	t.start = false
	switch {
	case ch == '[':
		return t.bracket()
	case ch == '\\':
		return t.escape()
	case ch == '*' && start:
		t.out.WriteString(`\*`)
	case ch == '^' && !t.extended && !start, ch == '$' && !t.extended && !t.end():
		t.out.WriteString(`\` + t.in[t.at:t.at+1])
	case ch == '^':
		t.out.WriteByte(ch)
		t.start = true
	case strings.IndexByte("(){}|+?", ch) >= 0:
		if !t.extended {
			t.out.WriteByte('\\')
		} else {
			t.start = ch == '(' || ch == '|'
		}
		t.out.WriteByte(ch)
	default:
		t.out.WriteByte(ch)
	}
	t.at++
	return nil
}

// end reports whether the pattern, a group or an alternative ends behind the
// next character.
func (t *translator) end() bool {
	rest := t.in[t.at+1:]
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

func (t *translator) escape() error {
	if t.at+1 == len(t.in) {
		return errors.New("trailing backslash")
	}
	ch := t.in[t.at+1]
	t.at += 2
	switch {
	case ch >= '1' && ch <= '9':
		return errBackreference
	case ch == '<', ch == '>':
		t.out.WriteString(`\b`)
	case ch == '`':
		t.out.WriteString(`\A`)
	case ch == '\'':
		t.out.WriteString(`\z`)
	case strings.IndexByte("(){}|+?", ch) >= 0 && !t.extended:
		t.out.WriteByte(ch)
		t.start = ch == '(' || ch == '|'
	case ch == 'n', ch == 't', ch == 'r', ch == 'f', ch == 'v', strings.IndexByte("wWsSbBdD", ch) >= 0:
		t.out.WriteString(`\` + string(rune(ch)))
	case ch < 0x80:
		t.out.WriteString(regexp.QuoteMeta(string(rune(ch))))
	default:
		t.out.WriteByte(ch)
	}
	return nil
}

// bracket copies a bracket expression, in which a backslash stands for itself.
func (t *translator) bracket() error {
	from := t.at + 1
	to := from
	if to < len(t.in) && t.in[to] == '^' {
		to++
	}
	if to < len(t.in) && t.in[to] == ']' {
		to++
	}
	for to < len(t.in) && t.in[to] != ']' {
		if strings.HasPrefix(t.in[to:], "[:") {
			if end := strings.Index(t.in[to:], ":]"); end > 0 {
				to += end + 1
			}
		}
		to++
	}
	if to >= len(t.in) {
		return errors.New("unmatched [")
	}
	set := t.in[from:to]
	t.at = to + 1
	t.out.WriteByte('[')
	if rest, ok := strings.CutPrefix(set, "^"); ok {
		t.out.WriteByte('^')
		set = rest
	}
	if rest, ok := strings.CutPrefix(set, "]"); ok {
		t.out.WriteString(`\]`)
		set = rest
	}
	for i := range len(set) {
		switch {
		case set[i] == '\\', set[i] == '[' && !strings.HasPrefix(set[i:], "[:"):
			t.out.WriteByte('\\')
		}
		t.out.WriteByte(set[i])
	}
	t.out.WriteByte(']')
	return nil
}

// maxNeeds bounds how many texts required finds: looking for many is not faster.
const maxNeeds = 8

// required are texts of which one is in whatever the pattern matches, or none if
// there are no such: looking for them is much faster than looking for the
// pattern. They are in lower case if fold is set, and may be in any in the text.
func required(pattern string) (texts []string, fold bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, false
	}
	texts, fold = literals(re.Simplify())
	if len(texts) > maxNeeds {
		return nil, false
	}
	if fold { // all are looked for the same way
		for i := range texts {
			texts[i] = strings.ToLower(texts[i])
		}
	}
	return texts, fold
}

func literals(re *syntax.Regexp) (texts []string, fold bool) {
	switch re.Op {
	case syntax.OpLiteral:
		fold = re.Flags&syntax.FoldCase != 0
		text := string(re.Rune)
		if fold && strings.IndexFunc(text, func(r rune) bool { return r >= 0x80 }) >= 0 {
			return nil, false
		}
		return []string{text}, fold
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if one, f := literals(sub); shortest(one) > shortest(texts) {
				texts, fold = one, f
			}
		}
		return texts, fold
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			one, f := literals(sub)
			if len(one) == 0 {
				return nil, false
			}
			texts, fold = append(texts, one...), fold || f
		}
		return texts, fold
	}
	return nil, false
}

// shortest is the length of the shortest text; 0 if there are none.
func shortest(texts []string) int {
	n := 0
	for i, text := range texts {
		if i == 0 || len(text) < n {
			n = len(text)
		}
	}
	return n
}
