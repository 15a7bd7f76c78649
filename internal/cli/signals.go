package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// signals is the user's way out: the first signal ends the work and lets the
// clean-up run, the second abandons the clean-up as well.
type signals struct {
	abandon <-chan struct{}
	stop    func()
}

// watchSignals returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels, with a *signalError as its cause.
func watchSignals(ctx context.Context, terminal *tty.Terminal) (context.Context, signals) {
	// A reader that went away (`cloudssh hello --exec ... | head -1`) must reach
	// us as an error of the write, else nobody would delete the twin. Caught, not
	// ignored: what we start (gcloud) would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	ctx, cancel := context.WithCancelCause(ctx)
	abandon := make(chan struct{})
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case s := <-caught:
				switch {
				case first:
					cancel(&signalError{s.(syscall.Signal)})
				case s == syscall.SIGHUP:
					// The kernel and the shell both send it when a window is
					// closed: that is nobody's impatience.
				default:
					close(abandon)
					return
				}
			}
		}
	}()
	stop := func() {
		signal.Stop(caught)
		close(done)
		if terminal != nil {
			_ = terminal.Restore() // best effort: the process is ending
		}
		cancel(nil)
	}
	return ctx, signals{abandon: abandon, stop: stop}
}
