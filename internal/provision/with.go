package provision

import (
	"context"
	"errors"
)

// ErrTwinGone, returned by the function given to With, says that a joined twin was on its way out: it refused the
// connection, or is not there any more. With then deletes it and creates another.
var ErrTwinGone = errors.New("the twin is being deleted")

// Options are the surroundings of With.
type Options struct {
	// Progress is told of each step; nil for silence.
	Progress Progress
	// Abandon, when closed, makes With return at once, without deleting anything: the user has lost patience with the
	// clean-up that follows the end of the context. The error is an *AbandonedError.
	Abandon <-chan struct{}
}

// With creates or joins a twin, runs f with it and deletes the twin.
func With(ctx context.Context, b Backend, req Request, o Options,
	f func(ctx context.Context, t *Twin) (deleteTwin bool, err error),
) error {
	panic("not yet")
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
