package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// Exit codes, as documented in README.md. The remote status passes through.
const (
	exitOK         = 0
	exitFailure    = 1   // anything that is not below
	exitUsage      = 2   // wrong usage
	exitPipe       = 141 // 128+SIGPIPE: whoever read our output went away
	exitConnection = 255 // the twin or the connection failed, or no status arrived
	exitSignal     = 128 // plus the number of the signal that interrupted us
)

// usageError is the user's mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// connectionError is any failure of ours while the user was after a remote
// command: its code must not be mistaken for the command's own.
type connectionError struct{ error }

func (e *connectionError) Unwrap() error { return e.error }

// toldError is one that the person has read already, because what follows is
// none of their business. A signal that comes later is no news.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }

// signalError is the signal that ended the work.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string {
	switch e.signal {
	case syscall.SIGINT:
		return "interrupted"
	case syscall.SIGHUP:
		return "the terminal was closed"
	default:
		return "ended by signal: " + e.signal.String()
	}
}

// hintedError adds hints to an error.
type hintedError struct {
	error
	hints []string
}

func (e *hintedError) Unwrap() error   { return e.error }
func (e *hintedError) Hints() []string { return e.hints }

func withHints(err error, hints ...string) error {
	return &hintedError{error: err, hints: hints}
}

// exitCode maps an error to the exit code, and says whether it needs no words.
func exitCode(err error) (code int, silent bool) {
	var (
		signal *signalError
		remote *session.ExitError
		usage  *usageError
		conn   *connectionError
		told   *toldError
	)
	switch {
	case err == nil:
		return exitOK, true
	case errors.As(err, &told):
		return exitConnection, onlyStatus(err)
	case errors.As(err, &signal):
		return exitSignal + int(signal.signal), false
	case errors.As(err, &usage):
		return exitUsage, false
	case errors.Is(err, syscall.EPIPE) && errors.Is(err, errOutput):
		return exitPipe, true
	case errors.As(err, &remote):
		return remote.Code, onlyStatus(err)
	case errors.Is(err, tty.ErrDisconnect):
		return exitConnection, onlyStatus(err)
	case errors.Is(err, ui.ErrCancelled):
		return exitSignal + int(syscall.SIGINT), true
	case errors.As(err, &conn):
		return exitConnection, false
	default:
		return exitFailure, false
	}
}

// onlyStatus reports whether err says nothing beside the remote status, or what
// was told: a twin that could not be deleted is joined to it and must be named.
func onlyStatus(err error) bool {
	return withoutStatus(err) == nil
}

// withoutStatus is what is left to say when the exit code tells the status.
func withoutStatus(err error) error {
	return without(err, func(e error) bool {
		var (
			remote *session.ExitError
			told   *toldError
		)
		return errors.As(e, &remote) || errors.As(e, &told) || errors.Is(e, tty.ErrDisconnect)
	})
}

// errOutput marks failures to write to our own stdout.
var errOutput = errors.New("writing the output")

// output marks the errors of writes to our own stdout or stderr. It embeds
// nothing: os.File's ReadFrom would write past it.
type output struct{ file *os.File }

func (o output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errOutput, err)
	}
	return n, err
}

// without drops the parts of a joined error that match; nil when nothing
// stays. Hints around a join stay with its rest.
func without(err error, match func(error) bool) error {
	if err == nil || !match(err) {
		return err
	}
	switch e := err.(type) { //nolint:errorlint // the tree is taken apart here
	case interface{ Unwrap() []error }:
		var rest []error
		for _, part := range e.Unwrap() {
			rest = append(rest, without(part, match))
		}
		return errors.Join(rest...)
	case *connectionError:
		return without(e.error, match)
	case interface {
		Hints() []string
		Unwrap() error
	}:
		if rest := without(e.Unwrap(), match); rest != nil {
			return withHints(rest, e.Hints()...)
		}
	}
	return nil
}
