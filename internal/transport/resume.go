package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// resumeTimeout bounds one attempt to open a wire for a stream that has
	// none, and resumePace is after how long at least another one is started
	// beside it: a network that comes back does not carry what was sent before.
	resumeTimeout = 5 * time.Second
	resumePace    = 500 * time.Millisecond
	// moveTimeout bounds an attempt to open a wire while there is a good one.
	moveTimeout = 15 * time.Second
	// refusalPatience is how long 401 and 403 are taken for a passing trouble.
	refusalPatience = 5 * time.Minute
	// goneTimes is how often in a row 404 must come to be believed.
	goneTimes = 3
)

// maxDials bounds how many dials are under way at once.
const maxDials = 12

var errRecovered = errors.New("the wire that was silent answers again")

var errBusy = errors.New("the agent has too many connections")

// first opens the stream on whichever wire the network lets through.
func (k *keeper) first(ctx context.Context) (*link, attached, error) {
	for {
		w, peer, err := k.wires.open(ctx)
		if err != nil {
			return nil, attached{}, err
		}
		l, answer, err := k.create(ctx, w, peer)
		if err == nil {
			k.wires.works(w)
			return l, answer, nil
		}
		if !k.wires.cut(w, err) || ctx.Err() != nil {
			return nil, attached{}, err
		}
		k.log.Debug("dialling", "wire", w.name(), "error", err)
	}
}

// create opens a stream on a wire, which it owns.
func (k *keeper) create(ctx context.Context, w wire, peer Peer) (*link, attached, error) {
	k.epoch = 1
	a := attach{epoch: k.epoch, window: uint32(k.s.mine)}
	answer, err := exchange(ctx, w, a)
	if err == nil && !answer.created {
		err = errNoAttached
	}
	var final *FinalError
	switch {
	case errors.Is(err, errBusy):
		err = &StatusError{Code: http.StatusServiceUnavailable, Header: http.Header{VersionHeader: {peer.Version}}, Body: err.Error()}
	case errors.As(err, &final) && final.Reason == Gone:
		err = &StatusError{Code: http.StatusServiceUnavailable, Header: http.Header{VersionHeader: {peer.Version}}, Body: "the agent is shutting down"}
	case err != nil:
		err = fmt.Errorf("opening the connection: %w", err)
	}
	if err != nil {
		return nil, attached{}, errors.Join(err, w.close())
	}
	peer.RequestTimeout, peer.Keep = answer.timeout, answer.keep
	k.peer, k.id, k.key = peer, answer.id, answer.key
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	l := k.adopt(w)
	k.s.resume(0, 0, answer.window)
	return l, answer, nil
}

func (k *keeper) adopt(w wire) *link {
	l := newLink(k.s, w)
	l.life.client, l.life.wall = true, k.e.wall
	return l
}

// exchange sends an attach and reads the answer, until ctx ends.
func exchange(ctx context.Context, w wire, a attach) (attached, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errNoAttached)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { w.close() }) //nolint:errcheck // read and write fail
	answer, err := func() (attached, error) {
		if err := w.write(a.bytes()); err != nil {
			return attached{}, err
		}
		msg, err := w.read()
		if err != nil {
			return attached{}, err
		}
		return parseAttached(msg)
	}()
	if !stop() {
		return attached{}, context.Cause(ctx)
	}
	if err == nil && answer.status != attachOK {
		err = answer.status.err()
	}
	if err == nil && answer.epoch != a.epoch {
		err = errNoAttached
	}
	return answer, err
}

// resume takes the stream from its old wire, if there is one, to a new one,
// which it owns. Whatever still arrives on the old one from here on comes again
// on the new one.
func (k *keeper) resume(ctx context.Context, w wire, peer Peer, began time.Time) error {
	if err := k.same(peer); err != nil {
		return errors.Join(err, w.close())
	}
	s := k.s
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return w.close()
	}
	if s.link != nil {
		s.link.retire(nil)
	}
	k.epoch++
	a := attach{id: k.id, epoch: k.epoch, received: s.received(), consumed: s.consumed(), window: uint32(s.mine)}
	s.mu.Unlock()
	a.prove(k.key)
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	answer, err := exchange(ctx, w, a)
	if err != nil {
		k.wires.cut(w, err)
		return errors.Join(err, w.close())
	}
	k.wires.works(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		w.write(newReset(resetAborted, "")) //nolint:errcheck // the agent finds out
		return w.close()
	case !s.believes(answer.received, answer.consumed):
		return errors.Join(&FinalError{Reason: OutOfRange}, w.close())
	}
	s.told = a.consumed
	l := k.adopt(w)
	s.resume(answer.received, answer.consumed, answer.window)
	k.start(l, answer, began)
	return nil
}

// same says whether it is still the agent that the stream began with.
func (k *keeper) same(peer Peer) error {
	if peer.Instance != k.peer.Instance || peer.HostKey != k.peer.HostKey {
		return &FinalError{Reason: OtherInstance}
	}
	return nil
}

// race opens a wire, starting another attempt every now and then while the
// first ones have no answer.
func (k *keeper) race(ctx context.Context, pace time.Duration) (wire, Peer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, resumeTimeout, context.DeadlineExceeded)
	results := make(chan opened)
	running := 0
	start := func() {
		running++
		go func() {
			w, peer, err := k.wires.open(ctx)
			results <- opened{w, peer, err}
		}()
	}
	defer func() { // the losers are closed as they come
		cancel()
		go func(running int) {
			for range running {
				if late := <-results; late.wire != nil {
					late.wire.close() //nolint:errcheck // nobody used it
				}
			}
		}(running)
	}()
	next := time.NewTicker(pace)
	defer next.Stop()
	start()
	for {
		select {
		case o := <-results:
			running--
			if o.err == nil || running == 0 {
				return o.wire, o.peer, o.err
			}
		case <-next.C:
			start()
		case <-k.woken:
			switch {
			case k.look() == Connected:
				return nil, Peer{}, errRecovered
			case k.rushed.Swap(false) && running < maxDials: // on another network, perhaps
				start()
			}
		case <-ctx.Done():
			return nil, Peer{}, context.Cause(ctx)
		case <-k.s.done:
			return nil, Peer{}, net.ErrClosed
		}
	}
}

// refusals counts the front door's answers that may mean the end.
type refusals struct {
	since   time.Time // of 401 and 403 in a row
	missing int       // 404 in a row
}

// final is the *FinalError that a failed attempt means, or nil when it is worth
// another one.
//
// The agent's own verdicts are final. So are 410, with which it takes leave,
// and 404, the front end's for a service that was deleted, when it comes three
// times. 401 and 403 may be a token that was not refreshed, a role that is being
// changed or a network's log-in page: they are final after five minutes. All
// else is the network's and passes: 429 and 5xx, and errors without a status.
func (k *keeper) final(err error) error {
	var final *FinalError
	if errors.As(err, &final) {
		if final.Reason == UnknownStream && k.expired() {
			return &FinalError{Reason: Expired}
		}
		return final
	}
	var version *VersionError
	if errors.As(err, &version) {
		return &FinalError{Reason: Version, Text: version.Error()}
	}
	var status *StatusError
	if !errors.As(err, &status) {
		k.refusals = refusals{}
		return nil
	}
	switch status.Code {
	case http.StatusGone:
		return &FinalError{Reason: Gone}
	case http.StatusNotFound:
		if k.refusals.missing++; k.refusals.missing >= goneTimes {
			return &FinalError{Reason: Gone}
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		if k.refusals.since.IsZero() {
			k.refusals.since = time.Now()
		}
		if time.Since(k.refusals.since) >= refusalPatience {
			return &FinalError{Reason: Refused, Text: status.Error()}
		}
		k.refusals.missing = 0
		return nil
	}
	k.refusals = refusals{}
	return nil
}
