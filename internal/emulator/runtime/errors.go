package runtime

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrClosed is returned for a Sandbox or Runtime that was closed.
var ErrClosed = errors.New("closed")

// An UnavailableError says that no container runtime can be used on this machine.
type UnavailableError struct {
	Kind   string // what was asked for
	Reason string
	Try    []string // commands that would help
}

func (e *UnavailableError) Error() string {
	if e.Kind == Auto || e.Kind == "" {
		return "no container runtime: " + e.Reason
	}
	return fmt.Sprintf("container runtime %s: %s", e.Kind, e.Reason)
}

// Hints are the commands that would help.
func (e *UnavailableError) Hints() []string { return e.Try }

// A StartError says that a container could not start for a reason that lies in its image
// or in its description: a binary or a user that is not there, say. The wrapped
// error is fs.ErrNotExist or fs.ErrPermission where that is what it is.
type StartError struct {
	Container string
	Err       error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("starting container %s: %v", e.Container, e.Err)
}

func (e *StartError) Unwrap() error { return e.Err }

// A toolError is an error that a runtime reported.
type toolError struct {
	kind    string
	message string
	err     error // what kind of error it is, if that is known
}

func (e *toolError) Error() string {
	message := e.message
	// The words in front of the cause say which of runc's steps failed, to people who know runc.
	for _, prefix := range []string{"runc run failed: ", "unable to start container process: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	return e.kind + ": " + message
}

// aboutCommand tells whether the container's own command or directory is what cannot be used.
func (e *toolError) aboutCommand() bool {
	for _, words := range []string{`exec: "`, "executable", "failed to load /", "exec format error", "chdir to cwd"} {
		if strings.Contains(e.message, words) {
			return true
		}
	}
	return false
}

func (e *toolError) Unwrap() error { return e.err }

// discardClose closes what was only read from, where nothing depends on it.
func discardClose(c io.Closer) { _ = c.Close() }
