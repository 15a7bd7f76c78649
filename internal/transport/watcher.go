package transport

import "time"

// A watcher tells an observer of changes: one at a time, in order, and nothing
// twice. The keeper's goroutine is the only one that calls it.
type watcher struct {
	tell func(State)
	seen bool // last is set
	last State
	lost bool // since it was Connected
}

// see reports a state if it is another one.
func (w *watcher) see(s State) {
	if w.seen && s.Phase == w.last.Phase && s.Wire == w.last.Wire {
		return
	}
	switch s.Phase {
	case Lost:
		w.lost = true
	case Connected:
		s.Resumed, w.lost = w.lost, false
	case Suspect, Closed:
	}
	w.report(s)
}

func (w *watcher) report(s State) {
	w.last, w.seen = s, true
	if w.tell != nil {
		w.tell(s)
	}
}

// next reports when a lost stream will be tried again, and why it is lost.
func (w *watcher) next(at time.Time, err error) {
	s := w.last
	s.Next = at
	if err != nil {
		s.Err = err
	}
	w.report(s)
}

// trying reports that it is being tried.
func (w *watcher) trying() {
	if !w.last.Next.IsZero() {
		w.next(time.Time{}, nil)
	}
}
