//go:build linux || darwin

package agent

import (
	"context"
	"fmt"
	"time"
)

// A limitError is the end of Serve by a limit of the settings.
type limitError struct{ reason string }

func (e *limitError) Error() string { return e.reason }

// maxWait bounds how long the limits sleep. Timers follow a clock that stands
// still while a machine is suspended, the lease follows the calendar.
const maxWait = time.Minute

// warnings are the times before the end of the lease at which sessions are told.
func warnings() []time.Duration { return []time.Duration{5 * time.Minute, time.Minute} }

// watchLimits calls stop when a limit is reached.
func (s *server) watchLimits(ctx context.Context, stop context.CancelCauseFunc) {
	pending := warnings()
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
		var warnIn time.Duration
		pending, warnIn = s.warn(now, pending)
		timer.Reset(min(wait, warnIn, maxWait))
	}
}

// nextLimit says how long until a limit may be reached, or which one is.
func (s *server) nextLimit(now time.Time) (time.Duration, *limitError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := maxWait
	check := func(end time.Time, format string, args ...any) *limitError {
		if left := end.Sub(now); left > 0 {
			wait = min(wait, left)
			return nil
		}
		return &limitError{fmt.Sprintf(format, args...)}
	}
	if end := s.settings.expires(); !end.IsZero() {
		if limit := check(end, "the twin's lease has ended"); limit != nil {
			return 0, limit
		}
	}
	grace := time.Duration(s.settings.Grace) * time.Second
	if grace > 0 && !s.reached {
		limit := check(s.started.Add(grace), "nobody connected within %s", grace)
		return wait, limit
	}
	idle := time.Duration(s.settings.IdleTimeout) * time.Second
	if idle > 0 && s.reached && len(s.conns) == 0 {
		limit := check(s.idleSince.Add(idle), "nobody was connected for %s", idle)
		return wait, limit
	}
	return wait, nil
}

// warn tells interactive sessions of the end of the lease when a warning is
// due, and returns those still to come and the time until the first.
func (s *server) warn(now time.Time, pending []time.Duration) ([]time.Duration, time.Duration) {
	end := s.settings.expires()
	if end.IsZero() {
		return nil, maxWait
	}
	left := end.Sub(now)
	due := false
	for len(pending) > 0 && left <= pending[0] {
		pending, due = pending[1:], true
	}
	if due {
		s.tell(leaseWarning(left), (*session).interactive)
	}
	if len(pending) == 0 {
		return nil, maxWait
	}
	return pending, left - pending[0]
}

func leaseWarning(left time.Duration) string {
	return fmt.Sprintf("the twin's lease ends in %s", left.Round(time.Second))
}
