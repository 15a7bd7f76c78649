//go:build linux || darwin

package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// readOptions are what read was told.
type readOptions struct {
	raw, silent bool
	exact       bool // -N: the delimiter is a character as any other
	array       string
	delim       byte
	count       int
	prompt      string
	timeout     time.Duration
	names       []string
}

// readBuiltin is read. The interpreter's own cannot be interrupted at a
// terminal, and knows fewer options.
func readBuiltin(c *builtinCall) error {
	o, err := parseRead(c.args[1:])
	if err != nil {
		return c.failf(2, "%v", err)
	}
	stdin, _ := c.hc.Stdin.(*os.File)
	ctx, cancel := context.WithCancel(c)
	defer cancel()
	if o.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	terminal := c.shell.isTerminal(stdin)
	if o.prompt != "" && terminal {
		fmt.Fprint(c.hc.Stderr, o.prompt) //nolint:errcheck // there is nobody left to tell
	}
	if terminal && (o.silent || o.count > 0 || o.delim != '\n') {
		defer c.shell.tty.mode(!o.silent, o.count == 0 && o.delim == '\n')()
	}
	text, rerr := o.read(c.shell.reader(ctx, stdin, c.job))
	if cause := context.Cause(c); cause != nil {
		return exitStatus(causeStatus(cause))
	}
	if err := c.eval(o.assignments(c, text)); err != nil {
		return err
	}
	switch {
	case rerr == nil:
		return nil
	case errors.Is(rerr, context.DeadlineExceeded):
		return exitStatus(128 + int(syscall.SIGALRM))
	}
	return exitStatus(1)
}

func parseRead(args []string) (o readOptions, err error) {
	o.delim = '\n'
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags := args[0][1:]
		args = args[1:]
		if flags == "-" {
			break
		}
		if args, err = o.flags(flags, args); err != nil {
			return o, err
		}
	}
	for _, name := range args {
		if !syntax.ValidName(name) {
			return o, fmt.Errorf("%s: not a valid identifier", name)
		}
	}
	o.names = args
	return o, nil
}

// flags reads the letters of one word, of which the last may have its value in
// the next word. It returns the words after that.
func (o *readOptions) flags(letters string, args []string) (rest []string, err error) {
	for i, flag := range []byte(letters) {
		if !strings.ContainsRune("adnNptui", rune(flag)) {
			if err := o.flag(flag); err != nil {
				return args, err
			}
			continue
		}
		value := letters[i+1:]
		if value == "" {
			if len(args) == 0 {
				return args, fmt.Errorf("-%c: option requires an argument", flag)
			}
			value, args = args[0], args[1:]
		}
		return args, o.value(flag, value)
	}
	return args, nil
}

func (o *readOptions) flag(flag byte) error {
	switch flag {
	case 'r':
		o.raw = true
	case 's':
		o.silent = true
	case 'e':
	default:
		return fmt.Errorf("-%c: invalid option", flag)
	}
	return nil
}

func (o *readOptions) value(flag byte, value string) error {
	var err error
	switch flag {
	case 'a':
		o.array = value
		if !syntax.ValidName(value) {
			return fmt.Errorf("%s: not a valid identifier", value)
		}
	case 'd':
		o.delim = (value + "\x00")[0]
	case 'n', 'N':
		o.exact = flag == 'N'
		o.count, err = strconv.Atoi(value)
	case 'p':
		o.prompt = value
	case 't':
		var seconds float64
		seconds, err = strconv.ParseFloat(value, 64)
		o.timeout = max(time.Duration(seconds*float64(time.Second)), 1)
	case 'u':
		if value != "0" {
			err = errors.New("only descriptor 0 is known")
		}
	}
	if err != nil {
		return fmt.Errorf("-%c: %s: %w", flag, value, err)
	}
	return nil
}

// read reads up to the delimiter, and not a byte more: what follows is for the
// next command.
func (o *readOptions) read(r io.Reader) (string, error) {
	var text []byte
	source := byteReader{r: r}
	defer source.unread()
	for escaped := false; o.count == 0 || utf8.RuneCount(text) < o.count; {
		b, err := source.next()
		if err != nil {
			return string(text), err
		}
		switch {
		case b == o.delim && !o.exact && !escaped:
			return string(text), nil
		case escaped && b == '\n' && !o.raw:
			text, escaped = text[:len(text)-1], false // the line goes on
			continue
		}
		escaped = b == '\\' && !escaped && !o.raw
		if b != 0 {
			text = append(text, b)
		}
	}
	return string(text), nil
}

// A byteReader reads a byte at a time; of a file, which can go back, more.
type byteReader struct {
	r    io.Reader
	buf  []byte
	rest []byte
}

func (b *byteReader) next() (byte, error) {
	if len(b.rest) == 0 {
		if b.buf == nil {
			b.buf = make([]byte, 1)
			if _, ok := b.r.(*os.File); ok {
				b.buf = make([]byte, 4096)
			}
		}
		n, err := b.r.Read(b.buf)
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		b.rest = b.buf[:n]
	}
	c := b.rest[0]
	b.rest = b.rest[1:]
	return c, nil
}

// unread gives back what was read too much.
func (b *byteReader) unread() {
	if file, ok := b.r.(*os.File); ok && len(b.rest) > 0 {
		file.Seek(-int64(len(b.rest)), io.SeekCurrent) //nolint:errcheck // only regular files are read ahead
	}
}

// assignments is what read does to the variables, as text to evaluate.
func (o *readOptions) assignments(c *builtinCall, text string) string {
	cfg := &expand.Config{Env: c.hc.Env}
	var out strings.Builder
	switch {
	case o.array != "":
		fmt.Fprintf(&out, "%s=(%s)", o.array, quote(expand.ReadFields(cfg, text, -1, o.raw)...))
	case len(o.names) == 0:
		if !o.raw {
			text = unescaped(text)
		}
		fmt.Fprintf(&out, "REPLY=%s", quote(text))
	case o.exact:
		fmt.Fprintf(&out, "%s=%s", o.names[0], quote(text))
	default:
		values := expand.ReadFields(cfg, text, len(o.names), o.raw)
		for i, name := range o.names {
			value := ""
			if i < len(values) {
				value = values[i]
			}
			fmt.Fprintf(&out, "%s=%s\n", name, quote(value))
		}
	}
	return out.String()
}

func unescaped(text string) string {
	var out bytes.Buffer
	escaped := false
	for _, b := range []byte(text) {
		if escaped = b == '\\' && !escaped; !escaped {
			out.WriteByte(b)
		}
	}
	return out.String()
}
