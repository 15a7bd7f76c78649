package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// signalNumber is the number that a signal has on Linux (amd64, arm64), where
// the agent runs: those of RFC 4254 section 6.10, Linux's others, and those
// without a name, which the agent sends as "34@cloudssh". 0 for any other.
func signalNumber(s ssh.Signal) int {
	const last = 64 // SIGRTMAX
	if number, ok := strings.CutSuffix(string(s), "@cloudssh"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n <= last {
			return n
		}
		return 0
	}
	names := []ssh.Signal{
		1: ssh.SIGHUP, ssh.SIGINT, ssh.SIGQUIT, ssh.SIGILL, "TRAP", ssh.SIGABRT, "BUS", ssh.SIGFPE, ssh.SIGKILL,
		ssh.SIGUSR1, ssh.SIGSEGV, ssh.SIGUSR2, ssh.SIGPIPE, ssh.SIGALRM, ssh.SIGTERM, "STKFLT",
		24: "XCPU", "XFSZ", "VTALRM", "PROF", 29: "IO", "PWR", "SYS",
	}
	return max(0, slices.Index(names, s))
}
