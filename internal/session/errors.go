package session

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// ErrDetached is what Run returns when the person typed `~.`.
var ErrDetached = tty.ErrDisconnect

// ExitError says that the command ran and ended with a status other than 0.
type ExitError struct {
	Code    int    // the exit status; 128+n when signal n ended the command
	Signal  string // its name without SIG; empty when no signal did
	Message string // what the agent added; often empty
}

func (e *ExitError) Error() string {
	switch {
	case e.Signal == "":
		return fmt.Sprintf("the command exited with status %d", e.Code)
	case e.Message == "":
		return fmt.Sprintf("the command was ended by SIG%s", e.Signal)
	}
	return fmt.Sprintf("the command was ended by SIG%s: %s", e.Signal, e.Message)
}

// NoStatusError says that no exit status arrived.
type NoStatusError struct {
	Err    error // why
	MayRun bool  // whether the command was started, and so may still be running
}

func (e *NoStatusError) Error() string {
	if e.MayRun {
		return fmt.Sprintf("no exit status arrived: %v; the command may still be running", e.Err)
	}
	return fmt.Sprintf("the command was not started: %v", e.Err)
}

func (e *NoStatusError) Unwrap() error { return e.Err }

// HostKeyError says that the agent presented another key than the one that
// was announced for its instance.
type HostKeyError struct{ Want, Got string } // SHA256 fingerprints

func (e *HostKeyError) Error() string {
	return fmt.Sprintf("the agent's host key is %s, not the announced %s: this is another instance of the twin, or another machine",
		e.Got, e.Want)
}

// signalNumber is the number a signal of RFC 4254 section 6.10 has on Linux;
// 0 for names it does not have.
func signalNumber(s ssh.Signal) int {
	switch s {
	case ssh.SIGHUP:
		return 1
	case ssh.SIGINT:
		return 2
	case ssh.SIGQUIT:
		return 3
	case ssh.SIGILL:
		return 4
	case "TRAP":
		return 5
	case ssh.SIGABRT:
		return 6
	case "BUS":
		return 7
	case ssh.SIGFPE:
		return 8
	case ssh.SIGKILL:
		return 9
	case ssh.SIGUSR1:
		return 10
	case ssh.SIGSEGV:
		return 11
	case ssh.SIGUSR2:
		return 12
	case ssh.SIGPIPE:
		return 13
	case ssh.SIGALRM:
		return 14
	case ssh.SIGTERM:
		return 15
	case "XCPU":
		return 24
	case "XFSZ":
		return 25
	case "SYS":
		return 31
	}
	return 0
}
