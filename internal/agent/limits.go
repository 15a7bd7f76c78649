//go:build linux || darwin

package agent

import (
	"context"
	"fmt"
	"time"
)

// A limitError is the end of Serve by a limit of the settings.
type limitError struct {
	reason string
	lease  bool // the lease has ended: the twin is of no use any more
}

func (e *limitError) Error() string { return e.reason }

// maxWait bounds how long the limits sleep. Timers follow a clock that stands
// still while a machine is suspended, the lease follows the calendar.
const maxWait = time.Minute

// warnings are the times before the end of the lease at which sessions are told.
func warnings() []time.Duration { return []time.Duration{5 * time.Minute, time.Minute} }

// watchLimits calls stop when a limit is reached.
func (s *server) watchLimits(ctx context.Context, stop context.CancelCauseFunc) {
	var told leaseWarnings
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-timer.C:
		}
		now := time.Now()
		wait, limit := s.nextLimit(now)
		if limit != nil {
			stop(limit)
			return
		}
		due, warnIn := told.next(now, s.expires())
		if due > 0 {
			s.tell(leaseWarning(due), (*session).interactive)
		}
		timer.Reset(min(wait, warnIn, maxWait))
	}
}

// nextLimit says how long until a limit may be reached, or which one is.
func (s *server) nextLimit(now time.Time) (time.Duration, *limitError) {
	detached := s.shells.detached() // not under the mutex: see leave
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := maxWait
	check := func(end time.Time, format string, args ...any) *limitError {
		if left := end.Sub(now); left > 0 {
			wait = min(wait, left)
			return nil
		}
		return &limitError{reason: fmt.Sprintf(format, args...)}
	}
	if !s.lease.IsZero() {
		if limit := check(s.lease, "the twin's lease has ended"); limit != nil {
			limit.lease = true
			return 0, limit
		}
	}
	grace := time.Duration(s.settings.Grace) * time.Second
	if grace > 0 && !s.reached {
		limit := check(s.started.Add(grace), "nobody connected within %s", grace)
		return wait, limit
	}
	idle := time.Duration(s.settings.IdleTimeout) * time.Second
	if idle == 0 || !s.reached {
		return wait, nil
	}
	since, isIdle := s.idle(detached)
	if !isIdle {
		// Nobody tells when a client is lost, so it is looked for, often enough
		// to be not much late.
		return min(wait, idle), nil
	}
	limit := check(since.Add(idle), "nobody was connected for %s", idle)
	return wait, limit
}

// idle says since when no client has been within reach, if so. One that has lost
// its network does not count: it cannot be told from one that is dead, and the
// platform does not keep the instance for it either. Where it does, by a minimum
// of instances, the session is to be there when a laptop wakes up. The mutex is
// held.
func (s *server) idle(detached int) (since time.Time, ok bool) {
	kept := s.settings.MinInstances > 0
	if kept && detached > 0 {
		return time.Time{}, false
	}
	since = s.idleSince
	for c := range s.conns {
		lost, gone := c.detached()
		if !gone || kept {
			return time.Time{}, false
		}
		if lost.After(since) {
			since = lost
		}
	}
	return since, true
}

// leaseWarnings knows of what users have been told. A lease that was renewed is
// warned of anew.
type leaseWarnings struct {
	end     time.Time // of the lease that it is about
	pending []time.Duration
}

// next returns what is left of the lease if users are to be told now, and when to
// ask again.
func (w *leaseWarnings) next(now, end time.Time) (due, again time.Duration) {
	if end.IsZero() {
		return 0, maxWait
	}
	if !end.Equal(w.end) {
		w.end, w.pending = end, warnings()
	}
	left := end.Sub(now)
	for len(w.pending) > 0 && left <= w.pending[0] {
		w.pending, due = w.pending[1:], left
	}
	if len(w.pending) == 0 {
		return due, maxWait
	}
	return due, left - w.pending[0]
}

func leaseWarning(left time.Duration) string {
	return fmt.Sprintf("the twin's lease ends in %s", left.Round(time.Second))
}
