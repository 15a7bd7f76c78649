package session

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// ErrLeft is what Run returns when the person typed `~.`.
var ErrLeft = tty.ErrDisconnect

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

// DetachedError says that Run ended because the session was left to the agent,
// where it goes on.
type DetachedError struct {
	Session uint32    // its number
	Until   time.Time // when it ends if nobody attaches it; zero when the agent sets no time
	Reason  string    // why, when it was not our wish: "attached elsewhere by ..."
}

func (e *DetachedError) Error() string {
	text := fmt.Sprintf("detached from session %d", e.Session)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// ErrNoSession says that there is no such session to attach, or not exactly
// one that is detached.
var ErrNoSession = errors.New("the agent has no such session, or not exactly one that is detached")

// Fate is what became of a command that gave no status.
type Fate int

// The fates.
const (
	NotStarted Fate = iota // it never ran
	MayRun                 // it was started, and nobody can say more
	Stopped                // it was started, and ended with its instance
	TakenOver              // it was started, and another client has it now
)

// NoStatusError says that no exit status arrived.
type NoStatusError struct {
	Err  error // why
	Fate Fate

	attach bool // the command was there before us
}

func (e *NoStatusError) Error() string {
	switch e.Fate {
	case MayRun:
		return fmt.Sprintf("no exit status arrived: %v; the command may still be running; check before running it again", e.Err)
	case Stopped:
		return fmt.Sprintf("no exit status arrived: the instance was stopped, and the command with it (%v); check what it has done before running it again", e.Err)
	case TakenOver:
		return fmt.Sprintf("no exit status arrived: %v; the command goes on there", e.Err)
	}
	if e.attach {
		return fmt.Sprintf("no session was attached: %v", e.Err)
	}
	return fmt.Sprintf("the command was not started: %v; it is safe to run it again", e.Err)
}

func (e *NoStatusError) Unwrap() error { return e.Err }

// fateOf derives from the error of a connection what became of a command that
// was started on it. Errors of the connection below may say so themselves, by
// these methods.
func fateOf(err error) Fate {
	var (
		instance interface{ InstanceGone() bool }
		client   interface{ Superseded() bool }
	)
	switch {
	case errors.As(err, &instance) && instance.InstanceGone():
		return Stopped
	case errors.As(err, &client) && client.Superseded():
		return TakenOver
	}
	return MayRun
}

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
