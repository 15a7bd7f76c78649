package runtime

import (
	"errors"
	"fmt"
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
