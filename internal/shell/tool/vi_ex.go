package tool

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// errUnsaved is why the editor is not left.
var errUnsaved = errors.New("there are changes that were not written; ! leaves all the same")

// execute obeys a command of the command line.
func (e *editor) execute(text string) error {
	text = strings.TrimSpace(text)
	from, to, rest, given, err := e.addresses(text)
	if err != nil {
		return err
	}
	rest = strings.TrimSpace(rest)
	end := 0
	for end < len(rest) && (rest[end] >= 'a' && rest[end] <= 'z' || rest[end] >= 'A' && rest[end] <= 'Z') {
		end++
	}
	name, rest := rest[:end], rest[end:]
	if name != "" && name[0] == 's' && strings.Trim(name, "sgi") == "" && rest != "" {
		name = "s"
	}
	force := strings.HasPrefix(rest, "!")
	argument := strings.TrimSpace(strings.TrimPrefix(rest, "!"))
	if name == "w" || name == "wq" || name == "x" {
		if !given {
			from, to = 0, len(e.lines)-1
		}
	}
	switch name {
	case "":
		if given {
			e.at = spot{to, indentOf(e.lines[to])}
		} else if text != "" {
			return errors.New("unknown command " + text)
		}
	case "s":
		return e.substitute(from, to, rest)
	case "g", "v":
		return e.global(name == "v", from, to, given, rest)
	case "d", "y":
		if e.yank(spot{from, 0}, spot{to, 0}, true); name == "d" {
			e.cut(spot{from, 0}, spot{to, 0}, true)
		}
	case "set", "se":
		return e.option(argument)
	case "noh", "nohlsearch":
		e.search = nil
	case "r", "read":
		return e.insertFile(to, argument)
	default:
		return e.leaveOrWrite(name, argument, from, to, force)
	}
	return nil
}

// leaveOrWrite are the commands that write, leave, or go to another file.
func (e *editor) leaveOrWrite(name, argument string, from, to int, force bool) error {
	switch name {
	case "w", "write":
		return e.save(argument, from, to)
	case "wq", "x", "xit":
		if name == "wq" || e.dirty {
			if err := e.save(argument, from, to); err != nil {
				return err
			}
		}
		return errLeave
	case "q", "quit", "qa":
		if e.dirty && !force {
			return errUnsaved
		}
		return errLeave
	case "e", "edit":
		if e.dirty && !force {
			return errUnsaved
		}
		if argument == "" {
			argument = e.name
		}
		return e.load(argument)
	case "n", "next", "N", "prev", "previous":
		step := 1
		if name[0] != 'n' {
			step = -1
		}
		if e.dirty && !force {
			return errUnsaved
		}
		if e.file+step < 0 || e.file+step >= len(e.names) {
			return errors.New("no other file")
		}
		e.file += step
		return e.load(e.names[e.file])
	}
	return errors.New("unknown command " + name)
}

func (e *editor) option(name string) error {
	switch name {
	case "nu", "number":
		e.numbers = true
	case "nonu", "nonumber":
		e.numbers = false
	default:
		return errors.New("the only option is number")
	}
	return nil
}

func (e *editor) insertFile(after int, name string) error {
	text, err := os.ReadFile(e.c.Path(name))
	if err != nil {
		return err
	}
	e.touch()
	e.lines = slices.Insert(e.lines, after+1, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	e.at = spot{after + 1, 0}
	return nil
}

// addresses reads the lines that a command is for; without any it is the one of
// the cursor.
func (e *editor) addresses(text string) (from, to int, rest string, given bool, err error) {
	if rest, ok := strings.CutPrefix(text, "%"); ok {
		return 0, len(e.lines) - 1, rest, true, nil
	}
	from, rest, given, err = e.address(text)
	if err != nil {
		return 0, 0, "", false, err
	}
	to = from
	if after, ok := strings.CutPrefix(rest, ","); ok {
		if to, rest, _, err = e.address(after); err != nil {
			return 0, 0, "", false, err
		}
		given = true
	}
	from = max(from, 0)
	if to >= len(e.lines) || from > to {
		return 0, 0, "", false, errors.New("there are no such lines")
	}
	return from, to, rest, given, nil
}

func (e *editor) address(text string) (y int, rest string, given bool, err error) {
	y, rest = e.at.y, text
	switch {
	case text == "":
	case text[0] == '.':
		rest, given = text[1:], true
	case text[0] == '$':
		y, rest, given = len(e.lines)-1, text[1:], true
	case text[0] == '\'' && len(text) > 1:
		mark, ok := e.marks[rune(text[1])]
		if !ok {
			return 0, "", false, errNoMotion
		}
		y, rest, given = mark.y, text[2:], true
	case text[0] >= '0' && text[0] <= '9':
		n := leadingDigits(text)
		y, err = strconv.Atoi(text[:n])
		y, rest, given = y-1, text[n:], true
	case text[0] == '/':
		pattern, after, _ := strings.Cut(text[1:], "/")
		re, err := compile(pattern, false, false)
		if err != nil {
			return 0, "", false, err
		}
		y = slices.IndexFunc(e.lines[e.at.y+1:], re.MatchString)
		if y < 0 {
			return 0, "", false, errors.New("not found")
		}
		y, rest, given = y+e.at.y+1, after, true
	}
	for len(rest) > 1 && (rest[0] == '+' || rest[0] == '-') && leadingDigits(rest[1:]) > 0 {
		n := leadingDigits(rest[1:]) + 1
		step, serr := strconv.Atoi(rest[:n])
		y, rest, given, err = y+step, rest[n:], true, errors.Join(err, serr)
	}
	return y, rest, given, err
}

func leadingDigits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// substitute is :s/pattern/text/flags.
func (e *editor) substitute(from, to int, text string) error {
	parts, err := splitScript(text, 3)
	if err != nil {
		return err
	}
	re := e.search
	if parts[0] != "" {
		if re, err = compile(parts[0], false, strings.Contains(parts[2], "i")); err != nil {
			return err
		}
	}
	if re == nil {
		return errors.New("a pattern is needed")
	}
	by, err := parseReplacement(parts[1])
	if err = errors.Join(err, by.check(re)); err != nil {
		return err
	}
	count := 0
	var made []string
	for y := from; y <= to; y++ {
		line, n := by.replace(re, e.lines[y], 1, strings.Contains(parts[2], "g"))
		if n > 0 {
			count += n
			e.at = spot{from + len(made), 0}
		}
		made = append(made, strings.Split(line, "\n")...)
	}
	if count == 0 {
		return errors.New("not found")
	}
	at := e.at
	e.at = spot{from, 0}
	e.touch()
	e.at = at
	e.lines = slices.Replace(e.lines, from, to+1, made...)
	e.message = strconv.Itoa(count) + " replaced"
	return nil
}

// global is :g/pattern/d, and :g/pattern/s/...; with v the lines that do not match.
func (e *editor) global(invert bool, from, to int, given bool, text string) error {
	if !given {
		from, to = 0, len(e.lines)-1
	}
	parts, err := splitScript(text, 2)
	if err != nil {
		return err
	}
	var re *regexp.Regexp
	if re, err = compile(parts[0], false, false); err != nil {
		return err
	}
	for y := to; y >= from; y-- {
		if re.MatchString(e.lines[y]) == invert {
			continue
		}
		switch command := parts[1]; {
		case command == "d":
			e.cut(spot{y, 0}, spot{y, 0}, true)
		case strings.HasPrefix(command, "s"):
			if err := e.substitute(y, y, command[1:]); err != nil && err.Error() != "not found" {
				return err
			}
		default:
			return errors.New(":g knows d and s")
		}
	}
	return nil
}
