package tool

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// xargs runs a command with what it reads as arguments.
func xargs(c *Context) int {
	o, ok := c.parse("+0n:I:i::L:rtP:s:d:a:xE:", "null=0", "max-args=n", "replace=i", "no-run-if-empty=r", "verbose=t", "max-procs=P",
		"delimiter=d", "arg-file=a", "max-lines=L")
	if !ok {
		return 2
	}
	limit, err := o.number('n', 1<<20)
	perLine, errLine := o.number('L', 0)
	if err != nil || errLine != nil || limit < 1 {
		return c.Usage("-n and -L need a number")
	}
	x := xarger{c: c, o: o, command: o.operands, limit: int(limit)}
	if len(x.command) == 0 {
		x.command = []string{"echo"}
	}
	switch {
	case o.has("I"):
		x.replace = o.value('I')
	case o.has("i"):
		if x.replace = o.value('i'); x.replace == "" {
			x.replace = "{}"
		}
	}
	from := "-"
	if o.has("a") {
		from = o.value('a')
	}
	r, err := c.open(from)
	if err != nil {
		return c.fail(from, err)
	}
	defer closeRead(r)
	if err := x.read(r, int(perLine)); err != nil {
		return c.Errorf("%s", reason(err))
	}
	if len(x.args) > 0 || !x.ran && !o.has("r") && x.replace == "" {
		x.run()
	}
	return x.status
}

// An xarger is one run of xargs.
type xarger struct {
	c       *Context
	o       options
	command []string
	replace string // with -I: where a line goes
	limit   int    // arguments at once
	args    []string
	bytes   int
	ran     bool
	stop    bool
	status  int
}

func (x *xarger) read(r io.Reader, perLine int) error {
	end := byte('\n')
	raw := x.o.has("0d")
	switch {
	case x.o.has("0"):
		end = 0
	case x.o.has("d"):
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(x.o.value('d'), `"`, `\"`) + `"`)
		if err != nil || len(text) != 1 {
			return errors.New("-d needs one character")
		}
		end = text[0]
	}
	count := 0
	return records(r, end, func(line []byte, _ bool) bool {
		switch {
		case raw:
			x.add(string(line))
		case x.replace != "":
			words, err := splitWords(strings.TrimLeft(string(line), " \t"), "")
			if err != nil {
				return x.give(err)
			}
			for _, w := range words {
				x.add(w)
			}
		default:
			words, err := splitWords(string(line), " \t")
			if err != nil {
				return x.give(err)
			}
			for _, w := range words {
				x.add(w)
			}
			if len(words) > 0 {
				count++
			}
			if perLine > 0 && count == perLine {
				x.run()
				count = 0
			}
		}
		return !x.stop
	})
}

// give gives up.
func (x *xarger) give(err error) bool {
	x.c.Errorf("%s", err)
	x.status, x.stop, x.ran = 1, true, true
	return false
}

func (x *xarger) add(arg string) {
	if x.stop {
		return
	}
	x.args, x.bytes = append(x.args, arg), x.bytes+len(arg)+1
	if len(x.args) >= x.limit || x.bytes > batchBytes || x.replace != "" {
		x.run()
	}
}

// run runs the command with the arguments there are. A status of 255 or a
// program that is not there ends xargs.
func (x *xarger) run() {
	args := append(x.command[:len(x.command):len(x.command)], x.args...)
	if x.replace != "" {
		args = append([]string(nil), x.command...)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], x.replace, x.args[0])
		}
	}
	x.args, x.bytes, x.ran = nil, 0, true
	if x.o.has("t") {
		x.c.complain("%s\n", strings.Join(args, " "))
	}
	n := *x.c
	n.Args, n.Stdin, n.StdinTTY = args, strings.NewReader(""), false
	switch status := x.c.Start(&n); status {
	case 0:
	case 126, 127:
		x.status, x.stop = status, true
	case 255:
		x.status, x.stop = 124, true
	default:
		x.status = 123
	}
	x.stop = x.stop || x.c.Err() != nil
}

// splitWords splits at blanks, save in quotes and behind a backslash.
func splitWords(s, blanks string) ([]string, error) {
	var all []string
	var word strings.Builder
	quote, inWord := rune(0), false
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '\\':
			escaped, inWord = true, true
		case strings.ContainsRune(blanks, r):
			if inWord {
				all = append(all, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed; -0 takes names as they are")
	}
	if inWord {
		all = append(all, word.String())
	}
	return all, nil
}
