package provision

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// ErrTwinGone is what the function given to With returns to say that the twin is on its way out: it refused the
// connection, or is not there any more, because another session in it was the last to leave and deletes it. That can
// happen to the twin's maker too, when the other was faster. With then deletes it and begins again with another.
var ErrTwinGone = errors.New("the twin is being deleted")

const (
	// deleteTimeout bounds the clean-up, which no other context ends.
	deleteTimeout = 60 * time.Second
	// maxRestarts bounds how often With follows ErrTwinGone.
	maxRestarts = 3
)

// Options are the surroundings of With.
type Options struct {
	// Progress is told of each step; nil for silence.
	Progress Progress
	// Abandon, when closed, makes With return at once, without waiting for anything, f included: the user has lost
	// patience with the clean-up that follows the end of the context. The error is an *AbandonedError. What still runs
	// goes on in the background, so the caller should end the process.
	Abandon <-chan struct{}
}

// AbandonedError says that With returned before the twin was deleted.
type AbandonedError struct {
	// Twin is what may be left behind; nil when nothing had been made.
	Twin *Twin
}

func (e *AbandonedError) Error() string {
	if e.Twin == nil {
		return "interrupted before a twin was made"
	}
	return "interrupted before the twin " + e.Twin.Name + " was deleted"
}

// Hints are the commands that delete what is left.
func (e *AbandonedError) Hints() []string {
	if e.Twin == nil {
		return nil
	}
	return e.Twin.Commands()
}

// With creates or joins a twin, runs f with it and deletes it, whatever ended f: its return, an error, the end of ctx, a
// panic or runtime.Goexit. Only f's word that the twin be kept (others use it), and req.Keep, leave it in place. After a
// panic f cannot say; then a twin that was joined stays, since somebody else may be in it.
//
// The deletion has a context of its own, 60 seconds long. What it cannot delete is named in the error, joined with f's,
// with the commands that delete it as hints. When ErrTwinGone comes back from f, With starts again.
//
// f runs in a goroutine of its own; a panic in it is raised again in the caller's as a *PanicError.
func With(ctx context.Context, b Backend, req Request, o Options,
	f func(ctx context.Context, t *Twin) (deleteTwin bool, err error),
) error {
	l := &life{backend: b, req: req, progress: o.Progress}
	l.req.Made = func(t Twin) { l.note(&t) }
	if req.Made != nil {
		l.req.Made = func(t Twin) { l.note(&t); req.Made(t) }
	}
	end := make(chan outcome, 1)
	go func() { end <- l.run(ctx, f) }()
	select {
	case out := <-end:
		return out.deliver()
	case <-o.Abandon:
		select { // done and abandoned at once: done counts
		case out := <-end:
			return out.deliver()
		default:
			return &AbandonedError{Twin: l.noted()}
		}
	}
}

// life is one run of With.
type life struct {
	backend  Backend
	req      Request
	progress Progress

	mu   sync.Mutex
	twin *Twin // what may exist and is ours to delete; nil once it is not
}

func (l *life) note(t *Twin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.twin = t
}

func (l *life) noted() *Twin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.twin
}

// run is With without the caller's impatience.
func (l *life) run(ctx context.Context, f func(context.Context, *Twin) (bool, error)) outcome {
	for restarts := 0; ; restarts++ {
		twin, err := l.backend.Create(ctx, l.req, l.progress)
		if err != nil {
			l.note(nil) // Create has cleaned up, or says in its error that it could not
			return outcome{err: err}
		}
		l.note(twin)
		out := guard(ctx, twin, f)
		again := errors.Is(out.err, ErrTwinGone) && restarts < maxRestarts && ctx.Err() == nil
		if again {
			out = outcome{remove: true}
		}
		if !out.remove || l.req.Keep && !again {
			l.note(nil)
			return out
		}
		if err := l.delete(ctx, twin); err != nil {
			out.err = withDeleteError(out.err, err, twin)
			return out
		}
		l.note(nil)
		if !again {
			return out
		}
	}
}

func (l *life) delete(ctx context.Context, t *Twin) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	_, done := l.progress.Start("deleting " + t.Name)
	defer func() { done(err) }()
	return l.backend.Delete(ctx, *t)
}

// withDeleteError joins what went wrong before with what went wrong after, and gathers the hints of both in one place.
func withDeleteError(err, deleteErr error, t *Twin) error {
	joined := errors.Join(err, fmt.Errorf("deleting %s: %w", t.Name, deleteErr))
	return Hint(joined, t.Commands()...)
}

// outcome is how f ended.
type outcome struct {
	remove   bool
	err      error
	panicked *PanicError
	exited   bool // by runtime.Goexit, as testing.T.FailNow does
}

// deliver makes the caller's goroutine end as f's did.
func (o outcome) deliver() error {
	switch {
	case o.panicked != nil:
		o.panicked.Cleanup = o.err
		panic(o.panicked)
	case o.exited:
		runtime.Goexit()
	}
	return o.err
}

// PanicError is what With panics with after f has.
type PanicError struct {
	Value any
	Stack []byte
	// Cleanup is the error of the deletion that followed, if any.
	Cleanup error
}

func (e *PanicError) Error() string {
	s := fmt.Sprintf("%v\n\n%s", e.Value, e.Stack)
	if e.Cleanup != nil {
		s += "\n" + e.Cleanup.Error()
	}
	return s
}

// Unwrap returns the value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard runs f in a goroutine, so that even its Goexit comes back as an outcome.
func guard(ctx context.Context, t *Twin, f func(context.Context, *Twin) (bool, error)) outcome {
	end := make(chan outcome, 1)
	go func() {
		out := outcome{exited: true, remove: !t.Joined}
		defer func() {
			if v := recover(); v != nil {
				out.exited, out.panicked = false, &PanicError{Value: v, Stack: stack()}
			}
			end <- out
		}()
		remove, err := f(ctx, t)
		out = outcome{remove: remove, err: err}
	}()
	return <-end
}

func stack() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, false)]
}
