// Package tool holds the everyday commands of the built-in shell: ls, cat, grep
// and so on, as functions. They run inside the shell's own process, many at a
// time (each side of a pipe is one), and nothing of the image is executed.
package tool

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// A Tool is one command.
type Tool struct {
	Name     string             // what the user types; aliases are tools of their own
	Synopsis string             // one line for help, such as "ls [-aAlhRrtS1dF] [FILE]...: list files"
	Run      func(*Context) int // returns the exit status, 0 to 255
}

// A Context is what one run of a tool gets, in the place of what a process
// gets from its kernel. A tool must use nothing else of the process it runs in:
// not os.Args, os.Stdin, os.Stdout, os.Getenv, os.Chdir, os.Exit, nor a
// relative path that did not go through Path.
//
// The context.Context ends when the run is to be given up: on Ctrl-C, when the
// job is killed, and when whoever reads Stdout has gone. Reads of Stdin and
// writes of Stdout fail by themselves then; a tool that is busy or waiting
// without them must look at the context. What it returns then does not matter.
// A failed write of Stdout ends a tool: there is nobody to write to.
type Context struct {
	context.Context

	Args    []string                 // Args[0] is the name it was called by
	Dir     string                   // the working directory, absolute
	Environ []string                 // all exported variables, as KEY=VALUE
	Env     func(name string) string // one of them, or ""

	Stdin  io.Reader // never nil; *os.File where it can be
	Stdout io.Writer // unbuffered; a tool with much to say buffers, and flushes
	Stderr io.Writer

	StdinTTY  bool // Stdin is the terminal
	StdoutTTY bool // Stdout is: columns and colours are welcome

	// Terminal is the shell's terminal, even where Stdin and Stdout are not (as
	// in `ls | less`). It is nil where there is none, and in the background.
	Terminal Terminal

	// Start runs another command and returns its exit status: for xargs, find
	// -exec, env, timeout, watch. It finds tools, and then programs in PATH; 127
	// is one that is neither (it has then complained on Stderr). c is a copy of
	// the tool's own Context, with Args and whatever else is to differ.
	Start func(c *Context) int

	// LookPath says what Start would run for a name: the path of a program, the
	// name itself for a tool or a builtin, "" for nothing.
	LookPath func(name string) string
}

// A Terminal is what vi, less, top and watch draw on.
type Terminal interface {
	// Read returns what was typed. It fails when the run is to be given up.
	io.Reader
	io.Writer

	// Size returns columns and rows, 80 and 24 where they are not known.
	Size() (cols, rows int)

	// Raw turns off echo, line editing and the keys that send signals, and
	// returns what turns them on again; it must be called, and may be twice.
	Raw() (restore func(), err error)

	// Resized returns a channel that gets a value after the size has changed. Of
	// changes that nobody has taken from it, one is kept.
	Resized() <-chan struct{}

	// ReadTimely is Read, but returns 0 and nil when nothing was typed until ctx
	// was done: an Escape is a key by itself if nothing follows it soon, and a
	// screen is drawn anew now and then.
	ReadTimely(ctx context.Context, p []byte) (int, error)
}

// Path is the path of a file that the user calls name: a relative one is
// relative to Dir. A trailing slash is kept, because it asks for a directory.
func (c *Context) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	path := filepath.Join(c.Dir, name)
	if name[len(name)-1] == '/' && path != "/" {
		path += "/"
	}
	return path
}

// Errorf complains on Stderr in the tool's name, and returns status 1.
func (c *Context) Errorf(format string, args ...any) int {
	fmt.Fprintf(c.Stderr, "%s: %s\n", c.Args[0], fmt.Sprintf(format, args...)) //nolint:errcheck // there is nobody left to tell
	return 1
}

// Usage complains about the arguments on Stderr, and returns status 2.
func (c *Context) Usage(format string, args ...any) int {
	c.Errorf(format, args...)
	return 2
}
