// Package scp is the remote side of the old scp protocol, which was rcp's: what
// `scp -f` (source) and `scp -t` (sink) do on a host that has no scp.
//
// There is no specification but OpenSSH's scp.c. A client sends a command line
// for a shell, so that Parse reads it as a shell would: quotes, variables,
// tildes, braces and wildcards. Then one side sends lines and file contents, and
// the other answers each of them with a byte:
//
//	T<mtime> <usec> <atime> <usec>   the times of what comes next
//	C<mode> <size> <name>            a file; its content follows, and a byte 0
//	D<mode> 0 <name>                 a directory; what is in it follows
//	E                                the end of it
//	\0                               all right
//	\1<text>                         an error; the sides are in step and go on
//	\2<text>                         an error; the sender of it has ended
//
// A name cannot hold a newline: it is sent as `\^J`, as OpenSSH does.
package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// A Command is one call of the server side.
type Command struct {
	source      bool // -f; else -t
	recursive   bool // -r
	preserve    bool // -p: modes and times
	directory   bool // -d: the target must be one
	verbose     bool // -v
	environment Environment
	operands    []pattern
}

// An Environment is what a shell knows.
type Environment struct {
	// Getenv is the value of a variable. Nil means that none is set.
	Getenv func(name string) string
	// Home is the home directory of a user, the session's own for "". Nil means
	// that nobody's is known.
	Home func(user string) (dir string, ok bool)
}

// Parse reads a command line. It is false for one that is not a call of scp's
// server side, and for one that only a shell can make sense of.
func Parse(line string, env Environment) (Command, bool) {
	words, ok := split(line, env)
	if !ok {
		return Command{}, false
	}
	return parse(words, env)
}

// FromArgs is Parse for an argument vector, in which nothing is expanded.
func FromArgs(args []string) (Command, bool) {
	words := make([]pattern, len(args))
	for i, arg := range args {
		words[i] = quote(arg)
	}
	return parse(words, Environment{})
}

// Words splits a command line into an argument vector. It is false if that takes
// a shell: if there is more than one command, a redirection, a substitution or
// a wildcard.
func Words(line string, env Environment) ([]string, bool) {
	words, ok := split(line, env)
	if !ok || len(words) == 0 {
		return nil, false
	}
	args := make([]string, len(words))
	for i, w := range words {
		if w.magic() || i == 0 && w.assigns() {
			return nil, false
		}
		args[i] = w.tilde(env).literal()
	}
	return args, true
}

func parse(words []pattern, env Environment) (Command, bool) {
	if len(words) == 0 || words[0].magic() || filepath.Base(words[0].literal()) != "scp" {
		return Command{}, false
	}
	c := Command{environment: env}
	sink := false
	words = words[1:]
	for len(words) > 0 {
		option := words[0].literal()
		if len(option) < 2 || option[0] != '-' {
			break
		}
		words = words[1:]
		if option == "--" {
			break
		}
		for _, letter := range option[1:] {
			switch letter {
			case 'f':
				c.source = true
			case 't':
				sink = true
			case 'r':
				c.recursive = true
			case 'p':
				c.preserve = true
			case 'd':
				c.directory = true
			case 'v':
				c.verbose = true
			case 'q', 'B', 'C', 'O', 'T', '4', '6': // mean nothing to a server
			default:
				return Command{}, false
			}
		}
	}
	c.operands = words
	return c, c.source != sink && len(words) > 0
}

// A link is a call's connection to its client.
type link struct {
	Command
	in     *bufio.Reader
	out    *bufio.Writer
	stderr io.Writer
	dir    string
	buf    []byte
	failed bool // an error was told or heard
}

// bufferSize is that of contents on their way. It is large because SSH tells the
// sender after each read how much it may send now.
const bufferSize = 256 << 10

// Serve does what the command says, relative names starting in dir, and returns
// its exit status. It ends when in does. stderr takes what -v asks for.
func (c Command) Serve(in io.Reader, out, stderr io.Writer, dir string) (status int) {
	l := &link{
		Command: c, in: bufio.NewReaderSize(in, 16<<10), out: bufio.NewWriterSize(out, 64<<10),
		stderr: stderr, dir: dir, buf: make([]byte, bufferSize),
	}
	var names []string
	for _, operand := range c.operands {
		names = append(names, operand.expand(c.environment, dir)...)
	}
	var err error
	if c.source {
		err = l.serveSource(names)
	} else {
		err = l.serveSink(names)
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		l.message(2, fatal.text) //nolint:errcheck // the client may be gone
	}
	if l.failed || err != nil {
		return 1
	}
	return 0
}

// A fatalError ends the transfer; the client is told so.
type fatalError struct{ text string }

func (e *fatalError) Error() string { return e.text }

func fatal(format string, args ...any) error { return &fatalError{fmt.Sprintf(format, args...)} }

// errLost is a client that went away.
var errLost = errors.New("lost connection")

// answer sends that all is right.
func (l *link) answer() error {
	l.out.WriteByte(0) //nolint:errcheck // bufio keeps the error for Flush
	return l.out.Flush()
}

// warn tells an error after which both sides go on.
func (l *link) warn(name string, err error) error { return l.message(1, name+": "+reason(err)) }

// message tells an error. Nothing in it may end the line.
func (l *link) message(kind byte, text string) error {
	l.failed = true
	fmt.Fprintf(l.out, "%cscp: %s\n", kind, visible(text)) //nolint:errcheck // bufio keeps the error for Flush
	return l.out.Flush()
}

// response waits for the other side's answer. ok is false if it reported an
// error and goes on.
func (l *link) response() (ok bool, err error) {
	answer, err := l.in.ReadByte()
	if err != nil {
		return false, errLost
	}
	if answer == 0 {
		return true, nil
	}
	// Text follows; also what is no answer at all is a line, for want of better.
	l.failed = true
	if _, err := readLine(l.in); err != nil {
		return false, err
	}
	if answer != 1 {
		return false, errLost
	}
	return false, nil
}

func (l *link) log(format string, args ...any) {
	if l.verbose {
		fmt.Fprintf(l.stderr, format+"\n", args...) //nolint:errcheck // nobody else to tell
	}
}

// path is where a name lies, for the system: the working directory of this
// process is not the session's. No filepath.Join, which would take away a ".."
// behind a symbolic link.
func (l *link) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return l.dir + "/" + name
}

// base is the last part of a name as it crosses in a line.
func base(name string) string {
	return visible(name[strings.LastIndexByte(name, '/')+1:])
}

func visible(text string) string { return strings.ReplaceAll(text, "\n", `\^J`) }
