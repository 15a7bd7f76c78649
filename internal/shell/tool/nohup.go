package tool

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// nohup runs a command that a hang-up of the terminal does not end. Signals and
// descriptors are the process's, so it has one of its own; a program takes its
// place.
func nohup(c *Context) int {
	o, ok := c.parse("+")
	if !ok {
		return 125
	}
	if len(o.operands) == 0 {
		c.Usage("a command is missing (try nohup --help)")
		return 125
	}
	signal.Ignore(syscall.SIGHUP)
	if err := c.leaveTerminal(); err != nil {
		c.Errorf("%s", reason(err))
		return 125
	}
	if path := c.LookPath(o.operands[0]); filepath.IsAbs(path) {
		err := syscall.Exec(path, o.operands, c.Environ)
		if !errors.Is(err, syscall.ENOEXEC) { // a script without #! has the shell to run it
			c.Errorf("%s: %s", o.operands[0], reason(err))
			return 126
		}
	}
	n := *c
	n.Args = o.operands
	return c.Start(&n)
}

// leaveTerminal has standard input read nothing, and output and errors go to a
// file, where they are the terminal.
func (c *Context) leaveTerminal() error {
	said := ""
	if c.StdinTTY {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // which cannot be read
		if err != nil {
			return err
		}
		defer null.Close() //nolint:errcheck // the copy stays
		if err := unix.Dup2(int(null.Fd()), 0); err != nil {
			return err
		}
		said = "ignoring input"
	}
	if c.StdoutTTY {
		file, name, err := c.nohupFile()
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // the copy stays
		if err := unix.Dup2(int(file.Fd()), 1); err != nil {
			return err
		}
		if said != "" {
			said += " and "
		}
		said += fmt.Sprintf("appending output to '%s'", name)
	}
	if said != "" {
		c.Errorf("%s", said)
	}
	if _, err := unix.IoctlGetWinsize(2, unix.TIOCGWINSZ); err == nil {
		return unix.Dup2(1, 2)
	}
	return nil
}

// nohupFile is nohup.out here, or else in the home directory.
func (c *Context) nohupFile() (*os.File, string, error) {
	const name = "nohup.out"
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE
	f, err := os.OpenFile(c.Path(name), flags, 0o600)
	if err == nil {
		return f, name, nil
	}
	elsewhere := filepath.Join(c.Env("HOME"), name)
	if f, herr := os.OpenFile(elsewhere, flags, 0o600); herr == nil {
		return f, elsewhere, nil
	}
	return nil, "", err
}
