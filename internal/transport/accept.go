package transport

import (
	"net/http"
	"time"
)

// serveWire carries a stream, new or resumed, over a wire until the wire is
// over. r is the request that made the wire: by its age the client knows when
// the platform will cut it, and its token says whose stream it is.
func (l *Listener) serveWire(w wire, r *http.Request) {
	began := time.Now()
	impatience := time.AfterFunc(handshakeTimeout, func() { w.close() }) //nolint:errcheck // the read fails
	defer impatience.Stop()
	log := l.cfg.Logger.With("client", r.RemoteAddr, "wire", w.name())
	link, answer := l.attach(w, r, began)
	err := w.write(answer.bytes())
	impatience.Stop()
	if link == nil || err != nil {
		log.Debug("attaching a wire", "status", answer.status, "error", err)
	}
	if link == nil {
		w.close() //nolint:errcheck // the answer was all
		return
	}
	s := link.s
	s.mu.Lock()
	link.writing = false
	if err != nil {
		link.fail(err)
	}
	link.work.Signal()
	s.mu.Unlock()
	log.Debug("attached a wire", "epoch", answer.epoch)
	link.run()
	s.mu.Lock()
	err = link.err
	s.mu.Unlock()
	log.Debug("a wire ended", "epoch", answer.epoch, "error", err)
}

// attach reads the client's attach and gives its stream the wire. Nothing else
// is written to it before the answer is.
func (l *Listener) attach(w wire, r *http.Request, began time.Time) (*link, attached) {
	msg, err := w.read()
	if err != nil {
		return nil, attached{status: attachVersion}
	}
	a, err := parseAttach(msg)
	if err != nil {
		return nil, attached{status: attachVersion}
	}
	principal := principalOf(r.Header)
	answer := attached{epoch: a.epoch, timeout: l.cfg.RequestTimeout, keep: l.cfg.Keep}
	if l.cfg.RequestTimeout > 0 {
		answer.rollover = max(l.cfg.RequestTimeout-time.Since(began), time.Millisecond)
	}
	var link *link
	if a.id == (streamID{}) {
		link = l.create(w, a, r, principal, &answer)
	} else {
		link = l.resume(w, a, principal, &answer)
	}
	return link, answer
}

// create opens a stream.
func (l *Listener) create(w wire, a attach, r *http.Request, principal string, answer *attached) *link {
	if l.closed() {
		answer.status = attachRefused
		return nil
	}
	select {
	case l.slots <- struct{}{}:
	default:
		answer.status = attachBusy
		return nil
	}
	s := newStream(l.Addr(), addr(r.RemoteAddr))
	s.limit(l.cfg.window)
	id, t, ok := l.streams.add(s, principal)
	if !ok {
		<-l.slots
		answer.status = attachBusy
		return nil
	}
	s.mu.Lock()
	link := l.adopt(s, w, a, answer)
	s.mu.Unlock()
	answer.created, answer.id, answer.key = true, id, t.key
	peer := Peer{
		Version: l.cfg.Version, Instance: l.cfg.Instance, HostKey: l.cfg.HostKey,
		RequestTimeout: l.cfg.RequestTimeout, Keep: l.cfg.Keep,
	}
	l.conns <- &Conn{stream: s, id: id, peer: peer, principal: principal} // never blocks: it has a slot
	if l.closed() {
		l.drain()
	}
	return link
}

// resume goes on with a stream.
func (l *Listener) resume(w wire, a attach, principal string, answer *attached) *link {
	t := l.streams.find(a.id)
	if t == nil {
		answer.status = attachUnknown
		return nil
	}
	s := t.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		answer.status = attachUnknown
		return nil
	case !a.proven(t.key), principal != t.principal:
		answer.status = attachProof
		return nil
	case a.epoch <= t.epoch:
		answer.status = attachStale
		return nil
	case !s.believes(a.received, a.consumed):
		s.end(&FinalError{Reason: OutOfRange}, resetRange)
		answer.status = attachRange
		return nil
	}
	t.epoch = a.epoch
	t.attached()
	if s.link != nil {
		s.link.retire(newReset(resetSuperseded, ""))
	}
	return l.adopt(s, w, a, answer)
}

// adopt puts the wire under the stream. The link may not write before the
// answer has been written. The mutex is held.
func (l *Listener) adopt(s *stream, w wire, a attach, answer *attached) *link {
	link := newLink(s, w)
	link.writing = true
	answer.received, answer.consumed, answer.window = s.received(), s.consumed(), uint32(s.mine)
	s.told = answer.consumed
	s.resume(a.received, a.consumed, a.window)
	return link
}
