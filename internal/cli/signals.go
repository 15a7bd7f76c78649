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
	// us as an error of the write, else nobody would delete the twin.
	signal.Ignore(syscall.SIGPIPE)

	ctx, cancel := context.WithCancelCause(ctx)
	abandon := make(chan struct{})
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 0; n < 2; {
			select {
			case <-done:
				return
			case s := <-caught:
				if n == 0 {
					cancel(&signalError{s.(syscall.Signal)})
				} else {
					close(abandon)
				}
				// A terminal that is gone sends SIGHUP more than once, and
				// that is nobody's impatience.
				if s != syscall.SIGHUP || n == 0 {
					n++
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
