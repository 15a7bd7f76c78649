package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// renewTimeout bounds one renewal.
const renewTimeout = time.Minute

// lease is that of the twin a session is in.
type lease struct {
	ttl time.Duration

	mu   sync.Mutex
	twin provision.Twin
}

// newLease is the lease of a twin; ttl is how long one lasts from the moment
// it is made or renewed, 0 meaning as long as it did at first.
func newLease(t provision.Twin, ttl time.Duration) *lease {
	if ttl == 0 {
		ttl = min(max(t.Expires.Sub(t.Created), time.Minute), provision.DefaultTTL)
	}
	return &lease{ttl: ttl, twin: t}
}

func (l *lease) ends() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.twin.Expires
}

// extended is the twin with its new end.
func (l *lease) extended(until time.Time) provision.Twin {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.twin.Expires = until
	return l.twin
}

// due is when the lease is to be renewed: half of it is over.
func (l *lease) due() time.Time { return l.ends().Add(-l.ttl / 2) }

// tellLease tells the agent of a twin until when its lease was renewed.
type tellLease func(ctx context.Context, until time.Time) error

// keepLease renews the lease while a session lives, until the returned
// function is called.
func (s *connection) keepLease(ctx context.Context, tell tellLease) (stop func()) {
	if s.guest {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Timers stand still while a machine sleeps; leases do not.
		for wait := time.Duration(0); ; wait = min(max(time.Until(s.lease.due()), s.lease.ttl/20), time.Minute) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if time.Now().Before(s.lease.due()) {
				continue
			}
			err := s.renew(ctx, tell)
			if errors.Is(err, provision.ErrTwinGone) {
				return
			}
			if err != nil && ctx.Err() == nil {
				s.log.Info("renewing the lease", "error", err)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// renew moves the lease's end on the platform, then at the agent: the other
// way round an agent would outlive what others may delete.
func (s *connection) renew(ctx context.Context, tell tellLease) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	until := time.Now().Add(s.lease.ttl).Truncate(time.Second)
	s.lease.mu.Lock()
	twin := s.lease.twin
	s.lease.mu.Unlock()
	if err := s.cloud.backend.Renew(ctx, twin, until); err != nil {
		return err
	}
	if err := tell(ctx, until); err != nil {
		return err
	}
	twin = s.lease.extended(until)
	s.guard.tell(guardMessage{Twin: &twin})
	s.log.Debug("renewed the lease", "until", until)
	return nil
}

// confirmPrice asks before something is made that costs money even when nobody
// uses it.
func (s *connection) confirmPrice(ctx context.Context, t provision.Twin) error {
	if t.Shape.MinInstances == 0 {
		return nil
	}
	text := fmt.Sprintf("--min-instances 1 keeps %s running, at %s an hour (%s), for %s or until it is deleted",
		t.Name, dollars(provision.Rate(t.Region, t.Shape)), priceNote(t.Region), long(s.options.ttl))
	if s.global.quiet || s.cloud.config.DisablePrompts || !s.ui.Interactive() {
		s.ui.Notef("%s", text)
		return nil
	}
	ok, err := s.ui.Confirm(ctx, text+". Go on?")
	if err != nil {
		return err
	}
	if !ok {
		return ui.ErrCancelled
	}
	return nil
}

// noteCost tells, at the end, what the twin came to. After an abandoned clean-up
// the session still goes on behind our back, and there is no end yet.
func (s *connection) noteCost(err error) {
	var abandoned *provision.AbandonedError
	if errors.As(err, &abandoned) || s.lease == nil || s.guest {
		return
	}
	now := time.Now()
	text := "%s lived %s: %s"
	if s.stays {
		text = "%s has lived %s so far: %s"
	}
	s.ui.Settle(fmt.Sprintf(text, s.lease.twin.Name, short(now.Sub(s.lease.twin.Created)), cost(s.lease.twin, now)))
}

// noting is run, with what becomes of the twin kept for noteCost.
func (s *connection) noting(run func(context.Context, *provision.Twin) (bool, error)) func(context.Context, *provision.Twin) (bool, error) {
	return func(ctx context.Context, twin *provision.Twin) (deleteTwin bool, err error) {
		deleteTwin, err = run(ctx, twin)
		s.stays = !deleteTwin && !errors.Is(err, provision.ErrTwinGone)
		return deleteTwin, err
	}
}

// lived is how long a twin has run: its instance ends with its lease.
func lived(t provision.Twin, now time.Time) time.Duration {
	if !t.Expires.IsZero() && t.Expires.Before(now) {
		now = t.Expires
	}
	return now.Sub(t.Created)
}

// cost is an estimate in words.
func cost(t provision.Twin, now time.Time) string {
	if t.Shape == (provision.Shape{}) || t.Created.IsZero() {
		return "cost not known"
	}
	return fmt.Sprintf("%s (%s)", dollars(provision.Cost(t.Region, t.Shape, lived(t, now))), priceNote(t.Region))
}

// priceNote says what an amount is worth.
func priceNote(region string) string {
	tier, known := provision.Tier(region)
	if !known {
		return "an estimate at list price; the price tier of " + region + " is not known"
	}
	return fmt.Sprintf("an estimate at list price, tier %d", tier)
}

func dollars(amount float64) string {
	if amount < 0.005 {
		return "less than $0.01"
	}
	return fmt.Sprintf("about $%.2f", amount)
}

// long is a duration as people write it: 8h, 1h30m.
func long(d time.Duration) string {
	text := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(text) > len(zero) && text[len(text)-len(zero):] == zero {
			text = text[:len(text)-len(zero)+1]
		}
	}
	return text
}

// clock is a time as one reads it off a clock, with its day when it is not
// today's.
func clock(t time.Time) string {
	t = t.Local()
	if now := time.Now(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04")
	}
	return t.Format("Mon 15:04")
}
