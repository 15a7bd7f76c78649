package tool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/benhoyt/goawk/interp"
	"github.com/benhoyt/goawk/lexer"
	"github.com/benhoyt/goawk/parser"
)

// awk runs a program of AWK. Its interpreter opens files and starts commands by
// itself, so it has a process of its own.
func awk(c *Context) int {
	o, ok := c.parse("+F:v:f:", "field-separator=F", "assign=v", "file=f")
	if !ok {
		return 2
	}
	source, args, err := c.awkSource(o)
	if err != nil {
		return c.Usage("%s", reason(err))
	}
	program, err := parser.ParseProgram([]byte(source), &parser.ParserConfig{})
	if err != nil {
		return c.Usage("%v", err)
	}
	out := &shared{output: c.output()}
	config := &interp.Config{
		Stdin: c.Stdin, Output: out, Error: c.Stderr,
		Argv0: c.Args[0], Args: args, Environ: []string{}, Chars: true,
		ShellCommand: []string{c.shell(), "-c"},
	}
	for _, kv := range c.Environ {
		name, value, _ := strings.Cut(kv, "=")
		config.Environ = append(config.Environ, name, value)
	}
	if c.StdoutTTY { // what it prints is seen at once, and what it starts has the terminal
		config.Output = c.Stdout
	}
	if config.Vars, err = awkVars(o); err != nil {
		return c.Usage("%v", err)
	}
	machine, err := interp.New(program)
	if err != nil {
		return c.Usage("%v", err)
	}
	status, err := machine.ExecuteContext(c, config)
	if err != nil && c.Err() == nil && !out.failed() {
		status = c.Usage("%v", err)
	}
	return out.done(status)
}

// shared is an output to which what awk has started writes, too.
type shared struct {
	mu sync.Mutex
	*output
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

// Flush lets what awk starts write behind what it has printed.
func (s *shared) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.err
}

// awkSource is the program, from the files of -f or else the first operand, and
// the operands that are left.
func (c *Context) awkSource(o options) (source string, args []string, err error) {
	files := o.values('f')
	if len(files) == 0 {
		if len(o.operands) == 0 {
			return "", nil, errors.New("a program is missing (try awk --help)")
		}
		return o.operands[0], o.operands[1:], nil
	}
	var all strings.Builder
	for _, name := range files {
		text, err := c.readAll(name)
		if err != nil {
			return "", nil, err
		}
		all.WriteString(text)
		all.WriteByte('\n')
	}
	return all.String(), o.operands, nil
}

// awkVars are the variables that the flags set, in which escapes are known.
func awkVars(o options) ([]string, error) {
	var vars []string
	for _, g := range o.given {
		name, value, ok := "FS", g.value, true
		switch g.flag {
		case 'f':
			continue
		case 'v':
			name, value, ok = strings.Cut(g.value, "=")
		case 'F':
			if value == "t" { // POSIX has it so
				value = `\t`
			}
		}
		if !ok || name == "" {
			return nil, errors.New("-v needs NAME=VALUE")
		}
		text, err := lexer.Unescape(value)
		if err != nil {
			return nil, err
		}
		vars = append(vars, name, text)
	}
	return vars, nil
}

// shell is what runs command lines: the image's own, or else this program.
func (c *Context) shell() string {
	const usual = "/bin/sh"
	if c.LookPath == nil {
		return usual
	}
	if path := c.LookPath("sh"); filepath.IsAbs(path) {
		return path
	}
	self, err := os.Executable()
	if err != nil {
		return usual
	}
	return self
}
