package tool

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A sedAddress selects lines: by number, by a pattern, the last one, or every
// step from one on. With relative it ends a range that many lines on.
type sedAddress struct {
	line, step     int
	last, relative bool
	re             *regexp.Regexp
}

// A sedCommand is one of the script. jump is where a block ends or a branch goes.
type sedCommand struct {
	name        byte
	from, to    *sedAddress
	invert      bool
	text        string
	re          *regexp.Regexp
	by          replacement
	nth         int
	all, print  bool
	file        string
	translation map[rune]rune
	jump        int
}

// A sedParser reads a script.
type sedParser struct {
	in       string
	at       int
	extended bool
	program  []sedCommand
	blocks   []int
	labels   map[string]int
}

func (p *sedParser) parse() error {
	for {
		p.skip(" \t\n;")
		if p.at >= len(p.in) {
			break
		}
		if p.in[p.at] == '#' {
			p.line()
			continue
		}
		if err := p.command(); err != nil {
			return err
		}
	}
	if len(p.blocks) > 0 {
		return errors.New("a { is not closed")
	}
	for i := range p.program {
		if cmd := &p.program[i]; strings.IndexByte("btT", cmd.name) >= 0 {
			at, ok := p.labels[cmd.text]
			if cmd.text == "" {
				at, ok = len(p.program), true
			}
			if !ok {
				return fmt.Errorf("there is no label %s", cmd.text)
			}
			cmd.jump = at
		}
	}
	return nil
}

func (p *sedParser) skip(set string) {
	for p.at < len(p.in) && strings.IndexByte(set, p.in[p.at]) >= 0 {
		p.at++
	}
}

// line is the rest of the line.
func (p *sedParser) line() string {
	text, _, _ := strings.Cut(p.in[p.at:], "\n")
	p.at += len(text)
	return text
}

func (p *sedParser) command() error {
	cmd, err := p.addresses()
	if err != nil {
		return err
	}
	cmd.name = p.in[p.at]
	p.at++
	return p.rest(cmd)
}

// addresses reads which lines a command is for.
func (p *sedParser) addresses() (cmd sedCommand, err error) {
	if cmd.from, err = p.address(); err != nil {
		return cmd, err
	}
	if p.skip(" \t"); cmd.from != nil && strings.HasPrefix(p.in[p.at:], ",") {
		p.at++
		p.skip(" \t")
		if cmd.to, err = p.address(); err != nil || cmd.to == nil {
			return cmd, errors.Join(err, errors.New("an address is missing behind the comma"))
		}
	}
	for p.skip(" \t"); strings.HasPrefix(p.in[p.at:], "!"); p.skip(" \t") {
		cmd.invert = true
		p.at++
	}
	if p.at >= len(p.in) {
		return cmd, errors.New("a command is missing")
	}
	return cmd, nil
}

// rest reads what belongs to a command behind its name.
func (p *sedParser) rest(cmd sedCommand) error {
	var err error
	switch cmd.name {
	case '{':
		p.blocks = append(p.blocks, len(p.program))
	case '}':
		if len(p.blocks) == 0 || cmd.from != nil {
			return errors.New("unexpected }")
		}
		p.program[p.blocks[len(p.blocks)-1]].jump = len(p.program)
		p.blocks = p.blocks[:len(p.blocks)-1]
		return nil
	case ':':
		p.labels[p.word()] = len(p.program)
		return nil
	case 's', 'y':
		err = p.substitution(&cmd)
	case 'a', 'i', 'c':
		cmd.text = p.text()
	case 'b', 't', 'T':
		cmd.text = p.word()
	case 'r', 'w':
		p.skip(" \t")
		cmd.file = p.line()
	case 'q', 'Q':
		p.skip(" \t")
		n := leadingDigits(p.in[p.at:])
		cmd.text = p.in[p.at : p.at+n]
		p.at += n
	default:
		if strings.IndexByte("dDpPgGhHxnN=l", cmd.name) < 0 {
			return fmt.Errorf("unknown command %c", cmd.name)
		}
	}
	p.program = append(p.program, cmd)
	return err
}

// word is the label of a branch.
func (p *sedParser) word() string {
	p.skip(" \t")
	start := p.at
	for p.at < len(p.in) && strings.IndexByte(" \t\n;}", p.in[p.at]) < 0 {
		p.at++
	}
	return p.in[start:p.at]
}

// text is what a, i and c write: the rest of the line, and the next one where it
// ends with a backslash.
func (p *sedParser) text() string {
	p.skip(" \t")
	if strings.HasPrefix(p.in[p.at:], "\\") {
		p.at++
		p.skip(" \t")
		if strings.HasPrefix(p.in[p.at:], "\n") {
			p.at++
		}
	}
	var b strings.Builder
	for ; p.at < len(p.in) && p.in[p.at] != '\n'; p.at++ {
		if p.in[p.at] == '\\' && p.at+1 < len(p.in) {
			p.at++
			if p.in[p.at] == 't' {
				b.WriteByte('\t')
				continue
			}
		}
		b.WriteByte(p.in[p.at])
	}
	return b.String()
}

func (p *sedParser) address() (*sedAddress, error) {
	if p.at >= len(p.in) {
		return nil, nil //nolint:nilnil // there is no address, which is no error
	}
	number := func() int {
		n := leadingDigits(p.in[p.at:])
		v := 0
		for _, d := range p.in[p.at : p.at+n] {
			v = v*10 + int(d-'0')
		}
		p.at += n
		return v
	}
	switch ch := p.in[p.at]; {
	case ch >= '0' && ch <= '9':
		a := &sedAddress{line: number()}
		if strings.HasPrefix(p.in[p.at:], "~") {
			p.at++
			a.step = number()
		}
		return a, nil
	case ch == '$':
		p.at++
		return &sedAddress{last: true}, nil
	case ch == '+':
		p.at++
		return &sedAddress{line: number(), relative: true}, nil
	case ch == '/' || ch == '\\':
		if ch == '\\' {
			p.at++
		}
		text, err := p.delimited(1)
		if err != nil {
			return nil, err
		}
		fold := strings.HasPrefix(p.in[p.at:], "I")
		if fold {
			p.at++
		}
		re, err := p.regexp(text[0], fold)
		return &sedAddress{re: re}, err
	}
	return nil, nil //nolint:nilnil // there is no address, which is no error
}

// regexp compiles a pattern; in sets \n is a newline, too.
func (p *sedParser) regexp(text string, fold bool) (*regexp.Regexp, error) {
	if text == "" {
		return nil, errors.New("an empty pattern is not supported: repeat it")
	}
	return compile(sedSets(text), p.extended, fold)
}

// sedSets puts newlines and tabs into sets, where a backslash is otherwise one.
func sedSets(text string) string {
	if !strings.Contains(text, "[") {
		return text
	}
	var b strings.Builder
	set := false
	for i := 0; i < len(text); i++ {
		switch {
		case !set && text[i] == '\\' && i+1 < len(text):
			b.WriteByte(text[i])
			i++
		case text[i] == '[':
			set = true
		case text[i] == ']':
			set = false
		case set && text[i] == '\\' && i+1 < len(text) && text[i+1] == 'n':
			b.WriteByte('\n')
			i++
			continue
		case set && text[i] == '\\' && i+1 < len(text) && text[i+1] == 't':
			b.WriteByte('\t')
			i++
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// delimited reads n parts, each ended by the character that is next.
func (p *sedParser) delimited(n int) ([]string, error) {
	parts, err := splitScript(p.in[p.at:], n+1)
	if err != nil {
		return nil, err
	}
	rest := parts[n]
	used := len(p.in) - p.at - len(rest)
	if used > len(p.in)-p.at || used < 1 || p.in[p.at+used-1] != p.in[p.at] {
		return nil, errors.New("the end of a pattern is missing")
	}
	p.at += used
	return parts[:n], nil
}

func (p *sedParser) substitution(cmd *sedCommand) error {
	parts, err := p.delimited(2)
	if err != nil {
		return err
	}
	if cmd.name == 'y' {
		from, ferr := expandY(parts[0])
		to, terr := expandY(parts[1])
		if ferr != nil || terr != nil || len(from) != len(to) {
			return errors.New("y needs two texts of the same length")
		}
		cmd.translation = map[rune]rune{}
		for i, r := range from {
			cmd.translation[r] = to[i]
		}
		return nil
	}
	cmd.nth = 1
	fold := false
	for ; p.at < len(p.in); p.at++ {
		switch ch := p.in[p.at]; {
		case ch == 'g':
			cmd.all = true
		case ch == 'p':
			cmd.print = true
		case ch == 'i' || ch == 'I':
			fold = true
		case ch >= '1' && ch <= '9':
			cmd.nth = int(ch - '0')
		case ch == 'w':
			p.at++
			p.skip(" \t")
			cmd.file = p.line()
			p.at--
		default:
			goto done
		}
	}
done:
	if cmd.re, err = p.regexp(parts[0], fold); err != nil {
		return err
	}
	if cmd.by, err = parseReplacement(parts[1]); err != nil {
		return err
	}
	return cmd.by.check(cmd.re)
}

func expandY(s string) ([]rune, error) {
	text, err := parseReplacement(strings.ReplaceAll(s, "&", `\&`))
	if err != nil || len(text) != 1 {
		return nil, errors.New("bad text")
	}
	return []rune(text[0].text), nil
}
