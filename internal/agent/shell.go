//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// shellVariable is what a client sends, as one of the session's environment, to
// choose the shell: auto, builtin, or an absolute path. It is the agent's to
// read and is kept from the session.
const shellVariable = "CLOUDSSH_SHELL"

// The values of shellVariable that are no paths.
const (
	shellAuto    = "auto"    // the image's, else the one we bring
	shellBuiltin = "builtin" // the one we bring
)

// shells are the places of a shell, in the order of preference.
func shells() []program {
	return []program{
		{"/bin/bash", []string{"bash"}},
		{"/usr/bin/bash", []string{"bash"}},
		{"/bin/sh", []string{"sh"}},
		{"/usr/bin/sh", []string{"sh"}},
		{"/busybox/sh", []string{"sh"}},
		{"/bin/busybox", []string{"sh"}},
	}
}

// A shellChooser finds a session's shell.
type shellChooser struct {
	env        []string  // the image's and the service's
	service    string    // for a message
	candidates []program // in the image
	builtin    string    // the path of ours; "" if there is none
}

// choose follows the client's wish.
func (c shellChooser) choose(wish string) (program, error) {
	switch {
	case wish == "" || wish == shellAuto:
		return c.auto()
	case wish == shellBuiltin:
		return c.brought()
	case filepath.IsAbs(wish):
		return named(wish), c.explain(wish, executable(wish))
	}
	return program{}, &startError{127, fmt.Sprintf("the shell %q is neither auto nor builtin nor an absolute path", wish)}
}

// auto prefers what the image's author has chosen.
func (c shellChooser) auto() (program, error) {
	if path, _ := getenv(c.env, "SHELL"); filepath.IsAbs(path) && executable(path) == nil {
		return named(path), nil
	}
	for _, candidate := range c.candidates {
		if executable(candidate.path) == nil {
			return candidate, nil
		}
	}
	if prog, err := c.brought(); err == nil {
		return prog, nil
	}
	return program{}, &startError{127, fmt.Sprintf("there is no shell in this image (no bash, sh or busybox); run a program of the image instead: cloudssh %s -- /path/to/binary", c.target())}
}

// named is a shell by its path. Busybox goes by its first argument.
func named(path string) program {
	name := filepath.Base(path)
	if name == "busybox" {
		name = "sh"
	}
	return program{path, []string{name}}
}

// brought is our own shell.
func (c shellChooser) brought() (program, error) {
	if c.builtin == "" || executable(c.builtin) != nil {
		return program{}, &startError{127, "there is no built-in shell in this twin: its agent came without one"}
	}
	return named(c.builtin), nil
}

func (c shellChooser) explain(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &startError{127, fmt.Sprintf("there is no shell %s in this image; without --shell, or with --shell builtin, you get one that is there: cloudssh %s --shell builtin", path, c.target())}
	case errors.Is(err, fs.ErrPermission):
		return &startError{126, fmt.Sprintf("the shell %s is not executable", path)}
	}
	return &startError{126, fmt.Sprintf("the shell %s: %v", path, err)}
}

func (c shellChooser) target() string {
	if c.service == "" {
		return "SERVICE"
	}
	return c.service
}

// shellProgram is the session's shell, which runs a command line or, without
// one, whatever it reads.
func (s *session) shellProgram(line ...string) (program, error) {
	if strings.ContainsRune(strings.Join(line, ""), 0) {
		return program{}, &startError{126, "the command contains a NUL byte"} // it cannot be part of an argument
	}
	server := s.conn.server
	chooser := shellChooser{server.env, server.settings.Service, shells(), server.shell}
	sh, err := chooser.choose(s.wish)
	if err != nil {
		return sh, err
	}
	ours, oursErr := chooser.brought()
	if oursErr == nil && (s.wish == "" || s.wish == shellAuto) && sh.path != ours.path {
		ours = s.withLine(ours, true, line)
		s.spare = &ours
	}
	// An image's shell gets the app's $SHELL. What was asked for, and what the
	// image knows nothing of, has to be told to programs that start a shell.
	if sh.path == server.shell || filepath.IsAbs(s.wish) {
		s.shell = sh.path
	}
	return s.withLine(sh, sh.path == server.shell, line), nil
}

// withLine gives a shell its arguments. Only our own is known to read no files
// of the image at a login. One that is on pipes has to be told that somebody
// looks at it.
func (s *session) withLine(sh program, ours bool, line []string) program {
	sh.args = slices.Clone(sh.args)
	if len(line) > 0 {
		sh.args = append(sh.args, "-c", line[0])
		return sh
	}
	if ours {
		sh.args = append(sh.args, "-l")
	}
	if s.lines {
		sh.args = append(sh.args, "-i")
	}
	return sh
}

// inPlaceOf is our own shell in place of one of the image that is there and
// cannot be started, for want of a loader, for instance; or nil.
func (s *session) inPlaceOf(cmd *exec.Cmd, err error) *exec.Cmd {
	broken := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.EACCES)
	if s.spare == nil || !broken {
		return nil
	}
	s.say(fmt.Sprintf("%v; this is a shell of cloudssh's instead", explainStart(program{path: cmd.Path}, err)))
	spare := *s.spare
	s.spare, s.shell = nil, spare.path
	return &exec.Cmd{
		Path: spare.path, Args: spare.args, Env: s.environ(), Dir: cmd.Dir,
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr, SysProcAttr: cmd.SysProcAttr,
	}
}
