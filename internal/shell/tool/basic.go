package tool

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
)

func echo(c *Context) int {
	args, newline, escapes := c.Args[1:], true, false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		for _, f := range args[0][1:] {
			switch f {
			case 'n':
				newline = false
			default:
				escapes = f == 'e'
			}
		}
		args = args[1:]
	}
	out, text := c.output(), strings.Join(args, " ")
	if escapes {
		var err error
		if text, _, err = expand.Format(nil, strings.ReplaceAll(text, "%", "%%"), nil); err != nil {
			return c.Errorf("%s", err)
		}
	}
	out.text(text)
	if newline {
		out.byte('\n')
	}
	return out.done(0)
}

// printf repeats its format until all arguments are used.
func printf(c *Context) int {
	args := c.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return c.Usage("a format is needed")
	}
	out, format, args := c.output(), args[0], args[1:]
	for {
		text, used, err := expand.Format(nil, format, args)
		if err != nil {
			out.flush()
			return c.Errorf("%s", err)
		}
		out.text(text)
		if args = args[used:]; used == 0 || len(args) == 0 || out.failed() {
			return out.done(0)
		}
	}
}

// clearScreen empties the terminal, and what can be scrolled back to.
func clearScreen(c *Context) int {
	out := c.output()
	out.text("\x1b[H\x1b[2J\x1b[3J")
	return out.done(0)
}

func truth(*Context) int   { return 0 }
func falsity(*Context) int { return 1 }

func pwd(c *Context) int {
	out := c.output()
	out.line(c.Dir)
	return out.done(0)
}

// seq counts. Numbers have as many decimals as the most exact of its arguments.
func seq(c *Context) int {
	args, separator, equal := c.Args[1:], "\n", false
	for len(args) > 0 && (args[0] == "-w" || args[0] == "-s") {
		switch {
		case args[0] == "-w":
			equal, args = true, args[1:]
		case len(args) < 2:
			return c.Usage("-s needs a text")
		default:
			separator, args = args[1], args[2:]
		}
	}
	limits, decimals := []float64{1, 1, 1}, 0
	if len(args) < 1 || len(args) > 3 {
		return c.Usage("seq [FIRST [STEP]] LAST")
	}
	for i, at := range map[int][]int{1: {2}, 2: {0, 2}, 3: {0, 1, 2}}[len(args)] {
		f, err := strconv.ParseFloat(args[i], 64)
		if err != nil {
			return c.Usage("not a number: %s", args[i])
		}
		limits[at] = f
		if _, after, ok := strings.Cut(args[i], "."); ok && at < 2 {
			decimals = max(decimals, len(after))
		}
	}
	first, step, last := limits[0], limits[1], limits[2]
	if step == 0 {
		return c.Usage("a step of 0 goes nowhere")
	}
	out, width := c.output(), 0
	count := math.Floor((last-first)/step + 1e-9)
	show := func(f float64) string { return strconv.FormatFloat(f, 'f', decimals, 64) }
	if equal {
		width = max(len(show(first)), len(show(first+count*step)))
	}
	for i := 0.0; i <= count && !out.failed() && c.Err() == nil; i++ {
		text := show(first + i*step)
		if i > 0 {
			out.text(separator)
		}
		sign := strings.HasPrefix(text, "-")
		if pad := strings.Repeat("0", max(0, width-len(text))); sign {
			out.text("-" + pad + text[1:])
		} else {
			out.text(pad + text)
		}
	}
	if count >= 0 {
		out.byte('\n')
	}
	return out.done(0)
}

// basename and dirname work on names alone.
func basename(c *Context) int {
	o, ok := c.parse("+as:z", "multiple=a", "suffix=s", "zero=z")
	if !ok {
		return 2
	}
	names, suffix := o.operands, o.value('s')
	if len(names) == 0 || len(names) > 2 && !o.has("as") {
		return c.Usage("basename NAME [SUFFIX]")
	}
	if len(names) == 2 && !o.has("as") {
		names, suffix = names[:1], names[1]
	}
	out := c.output()
	for _, name := range names {
		name = base(name)
		if short := strings.TrimSuffix(name, suffix); short != "" {
			name = short
		}
		out.line(name)
	}
	return out.done(0)
}

func dirname(c *Context) int {
	o, ok := c.parse("z", "zero=z")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a name is needed")
	}
	out := c.output()
	for _, name := range o.operands {
		name = strings.TrimRight(name, "/")
		at := strings.LastIndexByte(name, '/')
		switch {
		case at < 0 && name == "" && o.operands[0] != "":
			out.line("/")
		case at < 0:
			out.line(".")
		default:
			if name = strings.TrimRight(name[:at], "/"); name == "" {
				name = "/"
			}
			out.line(name)
		}
	}
	return out.done(0)
}

// A condition reads the expression of test.
type condition struct {
	c    *Context
	args []string
}

var errCondition = errors.New("not an expression")

func testTool(c *Context) int {
	args := c.Args[1:]
	if c.Args[0] == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			return c.Usage("] is missing")
		}
		args = args[:len(args)-1]
	}
	if len(args) == 0 {
		return 1
	}
	t := &condition{c, args}
	ok, err := t.or()
	if err == nil && len(t.args) > 0 {
		err = errCondition
	}
	switch {
	case err != nil:
		return c.Usage("%s: %s", strings.Join(args, " "), err)
	case ok:
		return 0
	}
	return 1
}

func (t *condition) or() (bool, error) {
	v, err := t.and()
	for err == nil && len(t.args) > 0 && t.args[0] == "-o" {
		t.args = t.args[1:]
		var right bool
		right, err = t.and()
		v = v || right
	}
	return v, err
}

func (t *condition) and() (bool, error) {
	v, err := t.one()
	for err == nil && len(t.args) > 0 && t.args[0] == "-a" {
		t.args = t.args[1:]
		var right bool
		right, err = t.one()
		v = v && right
	}
	return v, err
}

func (t *condition) one() (bool, error) {
	a := t.args
	switch {
	case len(a) == 0:
		return false, errCondition
	case len(a) >= 3:
		if v, ok, err := t.binary(a[0], a[1], a[2]); ok {
			t.args = a[3:]
			return v, err
		}
	}
	switch {
	case a[0] == "!" && len(a) > 1:
		t.args = a[1:]
		v, err := t.one()
		return !v, err
	case a[0] == "(" && len(a) > 1:
		t.args = a[1:]
		v, err := t.or()
		if err != nil || len(t.args) == 0 || t.args[0] != ")" {
			return false, errCondition
		}
		t.args = t.args[1:]
		return v, nil
	case len(a) > 1 && len(a[0]) == 2 && a[0][0] == '-' && a[1] != "-a" && a[1] != "-o":
		t.args = a[2:]
		return t.unary(a[0][1], a[1])
	}
	t.args = a[1:]
	return a[0] != "", nil
}

func (t *condition) binary(left, op, right string) (v, ok bool, err error) {
	switch op {
	case "=", "==":
		return left == right, true, nil
	case "!=":
		return left != right, true, nil
	case "<":
		return left < right, true, nil
	case ">":
		return left > right, true, nil
	case "-nt", "-ot", "-ef":
		l, lerr := stat(t.c.Path(left))
		r, rerr := stat(t.c.Path(right))
		switch op {
		case "-ef":
			return lerr == nil && rerr == nil && l.same(r), true, nil
		case "-nt":
			return lerr == nil && (rerr != nil || l.modify.After(r.modify)), true, nil
		}
		return rerr == nil && (lerr != nil || l.modify.Before(r.modify)), true, nil
	case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
		l, lerr := strconv.ParseInt(strings.TrimSpace(left), 10, 64)
		r, rerr := strconv.ParseInt(strings.TrimSpace(right), 10, 64)
		if lerr != nil || rerr != nil {
			return false, true, errors.New("a number is needed")
		}
		return map[string]bool{"-eq": l == r, "-ne": l != r, "-lt": l < r, "-le": l <= r, "-gt": l > r, "-ge": l >= r}[op], true, nil
	}
	return false, false, nil
}

func (t *condition) unary(op byte, arg string) (bool, error) {
	path := t.c.Path(arg)
	n, err := stat(path)
	switch op {
	case 'n':
		return arg != "", nil
	case 'z':
		return arg == "", nil
	case 'e', 'a':
		return err == nil, nil
	case 'f':
		return err == nil && n.isRegular(), nil
	case 's':
		return err == nil && n.size > 0, nil
	case 'h', 'L':
		l, err := lstat(path)
		return err == nil && l.isLink(), nil
	case 'd', 'c', 'b', 'p', 'S':
		return err == nil && n.letter() == op|0x20, nil
	case 'r':
		return unix.Access(path, unix.R_OK) == nil, nil
	case 'w':
		return unix.Access(path, unix.W_OK) == nil, nil
	case 'x':
		return unix.Access(path, unix.X_OK) == nil, nil
	case 'u', 'g', 'k':
		return err == nil && n.mode&map[byte]uint32{'u': unix.S_ISUID, 'g': unix.S_ISGID, 'k': unix.S_ISVTX}[op] != 0, nil
	case 't':
		return arg == "0" && t.c.StdinTTY || arg == "1" && t.c.StdoutTTY, nil
	}
	return false, errCondition
}
