package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"syscall"
	"time"
)

const (
	// upgradePatience is how long an upgrade may go without an answer before
	// plain requests are tried beside it. An instance that has to start first
	// keeps both waiting.
	upgradePatience = 10 * time.Second
	// upgradeAgain is that once a WebSocket has worked: the instance is there,
	// and a user waits.
	upgradeAgain = 2500 * time.Millisecond
	// preference is what a WebSocket has over plain requests that are ready.
	preference = 500 * time.Millisecond
	// blockedFor is how long a path that once let WebSockets through counts as
	// one that does not: the machine may have left that network again.
	blockedFor = 30 * time.Minute
	// maxCuts is how many upgrades in a row may be cut before that is taken for
	// a policy rather than an accident.
	maxCuts = 2
)

// errNoUpgrade is an answer that looks like an upgrade and is none of ours.
var errNoUpgrade = errors.New("the upgrade was not answered by an agent")

// A selector opens an endpoint's wires. With WireAuto it finds out what the
// way there lets through, and remembers it.
type selector struct {
	e Endpoint

	mu      sync.Mutex
	proven  bool      // a WebSocket has carried a stream
	blocked time.Time // since when no WebSocket gets through; zero: none was stopped
	polls   bool      // streamed responses are held back
	cuts    int       // upgrades cut in a row
}

func newSelector(e Endpoint) *selector {
	client := &http.Client{}
	if e.Client != nil {
		*client = *e.Client
	} else {
		client.Transport = newTransport()
	}
	if client.Jar == nil {
		// Cloud Run's session affinity, without which a wire may lead to
		// another instance than the stream's.
		client.Jar, _ = cookiejar.New(nil) // has no error
	}
	e.Client = client
	return &selector{e: e}
}

// An opened wire, or why there is none.
type opened struct {
	wire wire
	peer Peer
	err  error
}

// open opens one wire. Whether anything gets through it is for the caller to
// find out, and to tell: works or cut.
func (s *selector) open(ctx context.Context) (wire, Peer, error) {
	switch {
	case s.e.opener != nil:
		return s.e.opener(ctx)
	case s.e.Wire == WireWebSocket:
		return s.e.openWebSocket(ctx)
	case s.e.Wire == WireHTTP:
		return s.openPlain(ctx)
	}
	if !s.webSockets() {
		w, peer, err := s.openPlain(ctx)
		if err != nil && ctx.Err() == nil { // perhaps another network
			s.block(false)
		}
		return w, peer, err
	}
	o := s.openEither(ctx)
	for o.err != nil && isCut(o.err) && s.cut(nil, o.err) && s.webSockets() {
		o = s.openEither(ctx)
	}
	if o.err == nil || ctx.Err() != nil || s.webSockets() && !s.blames(o.err) {
		return o.wire, o.peer, o.err
	}
	w, peer, err := s.openPlain(ctx)
	s.block(err == nil)
	if err != nil && !fromAgent(err) { // the first error says more
		return nil, Peer{}, o.err
	}
	return w, peer, err
}

// openEither upgrades, and tries plain requests beside when no answer comes.
func (s *selector) openEither(ctx context.Context) opened {
	ctx, cancel := context.WithCancel(ctx)
	upgrade := s.start(ctx, s.e.openWebSocket)
	patience := time.NewTimer(s.patience())
	defer patience.Stop()
	select {
	case o := <-upgrade:
		cancel()
		return o
	case <-patience.C:
	}
	plain := s.start(ctx, s.openPlain)
	o := s.race(upgrade, plain)
	cancel()
	// The other one ends with its context; if it was there already, it goes.
	for _, other := range []<-chan opened{upgrade, plain} {
		go func() {
			if late := <-other; late.wire != nil {
				late.wire.close() //nolint:errcheck // nobody has used it
			}
		}()
	}
	return o
}

// race waits for the first of the two that opens, the upgrade being preferred,
// or for both to fail.
func (s *selector) race(upgrade, plain <-chan opened) opened {
	select {
	case o := <-upgrade:
		if o.err == nil || fromAgent(o.err) {
			return o
		}
		if p := <-plain; p.err == nil {
			s.block(true)
			return p
		}
		return o
	case p := <-plain:
		if p.err != nil {
			return <-upgrade
		}
		last := time.NewTimer(preference)
		defer last.Stop()
		select {
		case o := <-upgrade:
			if o.err == nil {
				p.wire.close() //nolint:errcheck // nobody has used it
				return o
			}
		case <-last.C:
		}
		s.block(true)
		return p
	}
}

// start opens a wire in the background. The channel is closed after the result.
func (s *selector) start(ctx context.Context, open func(context.Context) (wire, Peer, error)) <-chan opened {
	result := make(chan opened, 1)
	go func() {
		defer close(result)
		w, peer, err := open(ctx)
		result <- opened{w, peer, err}
	}()
	return result
}

// openPlain opens a wire of plain requests.
func (s *selector) openPlain(ctx context.Context) (wire, Peer, error) {
	s.mu.Lock()
	polls := s.polls
	s.mu.Unlock()
	w, peer, err := s.e.openHTTP(ctx, polls)
	if !polls && errors.Is(err, errBuffered) {
		if w, peer, err = s.e.openHTTP(ctx, true); err == nil {
			s.mu.Lock()
			s.polls = true
			s.mu.Unlock()
		}
	}
	return w, peer, err
}

// works says that the agent has answered over a wire.
func (s *selector) works(w wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.name() == WireWebSocket.String() {
		s.proven, s.cuts, s.blocked = true, 0, time.Time{}
	}
}

// cut says that a wire, or with nil the opening of one, was cut or stayed silent
// before the agent's first frame came. It reports whether another attempt is worth making
// at once: of the same kind, or of another.
func (s *selector) cut(w wire, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.e.Wire != WireAuto || w != nil && w.name() != WireWebSocket.String() || fromAgent(err) {
		return false
	}
	silent := errors.Is(err, errNoAttached)
	if !silent && !isCut(err) {
		return false
	}
	if s.cuts++; silent && !s.proven { // it took long enough
		s.cuts = maxCuts
	}
	if s.cuts >= maxCuts && s.blocked.IsZero() {
		s.blocked, s.cuts = time.Now(), 0
	}
	return true
}

// blames says whether an error is taken for a policy on upgrades. Where
// WebSockets have worked, a single one may be a front door in trouble.
func (s *selector) blames(err error) bool {
	if !stopsUpgrades(err) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	return !s.proven || s.cuts >= maxCuts
}

// webSockets says whether an upgrade is worth trying.
func (s *selector) webSockets() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proven && time.Since(s.blocked) > blockedFor {
		s.blocked = time.Time{}
	}
	return s.blocked.IsZero()
}

func (s *selector) block(blocked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = 0
	switch {
	case !blocked:
		s.blocked = time.Time{}
	case s.blocked.IsZero():
		s.blocked = time.Now()
	}
}

func (s *selector) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proven {
		return upgradeAgain
	}
	return upgradePatience
}

// fromAgent reports whether an error is the agent's own refusal. That it got a
// request without an upgrade is none: something on the way has taken it out.
func fromAgent(err error) bool {
	var version *VersionError
	var status *StatusError
	switch {
	case errors.As(err, &version):
		return true
	case !errors.As(err, &status), status.Header.Get(VersionHeader) == "":
		return false
	}
	return status.Code != http.StatusBadRequest && status.Code != http.StatusUpgradeRequired
}

// stopsUpgrades reports whether an error is what something between us and the
// agent does to upgrades, as against what the network or the front door does to
// every request.
func stopsUpgrades(err error) bool {
	if fromAgent(err) {
		return false
	}
	if errors.Is(err, errNoUpgrade) {
		return true
	}
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusUpgradeRequired, http.StatusNotImplemented, http.StatusBadGateway:
		return true
	}
	return false
}

// isCut reports whether a connection that stood was cut.
func isCut(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return false
}
