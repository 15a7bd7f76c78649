package transport

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxHalfOpen bounds the connections without a first frame. The oldest
	// gives way: whoever is really there sends one at once.
	maxHalfOpen = 128
	// maxConnections bounds all of them. Streams, which each have one or, for
	// a moment, two, are bounded elsewhere.
	maxConnections = 4096
)

// An httpServer holds the connections that are made of HTTP requests.
type httpServer struct {
	l     *Listener
	serve func(wire, *http.Request) // carries a stream over a connection until that is over

	mu    sync.Mutex
	conns map[string]*httpConn
	half  []*httpConn // those without a first frame, oldest first
}

// routeHTTP makes the listener answer the paths of the HTTP wire.
func (l *Listener) routeHTTP() {
	newHTTPServer(l, l.serveWire).route()
}

func newHTTPServer(l *Listener, serve func(wire, *http.Request)) *httpServer {
	return &httpServer{l: l, serve: serve, conns: map[string]*httpConn{}}
}

func (h *httpServer) route() {
	l := h.l
	l.mux.HandleFunc("POST "+openPath, h.serveOpen)
	l.mux.HandleFunc("POST "+upPath, h.serveUp)
	l.mux.HandleFunc("GET "+downPath, h.serveDown)
	l.mux.HandleFunc("GET "+pollPath, h.servePoll)
}

func (h *httpServer) serveOpen(w http.ResponseWriter, r *http.Request) {
	if !h.l.admit(w, r) {
		return
	}
	id := r.Header.Get(connectionHeader)
	if name, err := hex.DecodeString(id); err != nil || len(name) != 16 {
		http.Error(w, connectionHeader+" is not 32 hex digits", http.StatusBadRequest)
		return
	}
	switch c, code := h.add(id, principalOf(r.Header)); {
	case code == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many connections", code)
	case code != http.StatusOK:
		http.Error(w, "there is such a connection", code)
	default:
		h.watch(c)
		w.Header().Set("Cache-Control", "no-store")
	}
}

// add makes a connection. A client may ask twice, if it did not get the first
// answer: that is the same connection as long as nothing has come over it.
func (h *httpServer) add(id, principal string) (*httpConn, int) {
	h.mu.Lock()
	var oldest *httpConn
	defer func() {
		h.mu.Unlock()
		if oldest != nil {
			oldest.close() //nolint:errcheck // it has no error
		}
	}()
	if c, ok := h.conns[id]; ok {
		if c.principal != principal || !slices.Contains(h.half, c) {
			return nil, http.StatusConflict
		}
		return c, http.StatusOK
	}
	if len(h.conns) >= maxConnections {
		return nil, http.StatusServiceUnavailable
	}
	if len(h.half) >= maxHalfOpen {
		oldest = h.half[0]
		h.half = slices.Delete(h.half, 0, 1)
		delete(h.conns, oldest.id)
	}
	c := newHTTPConn(id, principal, h.forget)
	h.conns[id] = c
	h.half = append(h.half, c)
	return c, http.StatusOK
}

// watch ends a connection whose first frame does not come, or whose listener is
// closed.
func (h *httpServer) watch(c *httpConn) {
	late := time.AfterFunc(connectionGone, func() {
		h.mu.Lock()
		half := slices.Contains(h.half, c)
		h.mu.Unlock()
		if half {
			c.close() //nolint:errcheck // it has no error
		}
	})
	go func() {
		defer late.Stop()
		select {
		case <-h.l.done:
			c.close() //nolint:errcheck // it has no error
		case <-c.ended:
		}
	}()
}

func (h *httpServer) forget(c *httpConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[c.id] == c {
		delete(h.conns, c.id)
	}
	h.half = slices.DeleteFunc(h.half, func(other *httpConn) bool { return other == c })
}

// find is the connection that a request belongs to, or nil after an answer.
// Every request but the first shows that it comes from the same account.
func (h *httpServer) find(w http.ResponseWriter, r *http.Request) *httpConn {
	if r.Header.Get(VersionHeader) != h.l.cfg.Version {
		http.Error(w, "the agent is version "+h.l.cfg.Version, http.StatusUpgradeRequired)
		return nil
	}
	h.mu.Lock()
	c := h.conns[r.Header.Get(connectionHeader)]
	h.mu.Unlock()
	if c == nil || c.principal != principalOf(r.Header) {
		http.Error(w, "there is no such connection", http.StatusConflict)
		return nil
	}
	w.Header().Set("Cache-Control", "no-store, no-transform")
	return c
}

// findSequence is find for a request with a sequence number.
func (h *httpServer) findSequence(w http.ResponseWriter, r *http.Request) (*httpConn, uint64) {
	sequence, err := strconv.ParseUint(r.Header.Get(sequenceHeader), 10, 63)
	if err != nil {
		http.Error(w, sequenceHeader+" is not a number", http.StatusBadRequest)
		return nil, 0
	}
	return h.find(w, r), sequence
}

func (h *httpServer) serveUp(w http.ResponseWriter, r *http.Request) {
	c, sequence := h.findSequence(w, r)
	if c == nil {
		return
	}
	c.begin()()
	c.started.Do(func() { h.start(c, r) })
	err := c.receive(sequence, http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
	var long *http.MaxBytesError
	var protocol *protocolError
	switch {
	case err == nil:
	case errors.Is(err, net.ErrClosed):
		http.Error(w, "the connection has ended", http.StatusConflict)
	case errors.As(err, &long), errors.As(err, &protocol):
		c.close() //nolint:errcheck // it has no error
		http.Error(w, err.Error(), http.StatusBadRequest)
	default: // the body broke off; if the client is still there, it comes again
		http.Error(w, "the request broke off", http.StatusBadRequest)
	}
}

// start makes the connection a wire, with its first request.
func (h *httpServer) start(c *httpConn, r *http.Request) {
	h.mu.Lock()
	h.half = slices.DeleteFunc(h.half, func(other *httpConn) bool { return other == c })
	h.mu.Unlock()
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = http.NoBody
	go func() {
		defer c.close() //nolint:errcheck // it has no error
		h.serve(c, r)
	}()
}

// serveDown sends frames as they come. The filler in front shows the client
// that nothing on the way holds the answer back.
func (h *httpServer) serveDown(w http.ResponseWriter, r *http.Request) {
	c := h.find(w, r)
	if c == nil {
		return
	}
	defer c.begin()()
	if !c.openStream() {
		http.Error(w, "frames are sent elsewhere", http.StatusConflict)
		return
	}
	defer c.close() //nolint:errcheck // it has no error
	rc := http.NewResponseController(w)
	defer c.release(r.Context(), rc)()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx, and what learned from it
	records := make([]byte, frameHead)
	for spare := []byte(nil); records != nil; records, spare = c.records(spare), records {
		if _, err := w.Write(records); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
	}
}

// openStream makes a stream carry frames down: false if something does already.
func (c *httpConn) openStream() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream || c.polling || c.closed {
		return false
	}
	c.stream = true
	return true
}

// release ends the connection when its client goes, and frees the stream's
// handler from a client that reads nothing when the connection ends.
func (c *httpConn) release(client context.Context, rc *http.ResponseController) (stop func()) {
	ctx, cancel := context.WithCancel(client)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-ctx.Done():
			c.close() //nolint:errcheck // it has no error
		case <-c.ended:
		}
		rc.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // then it is an answer without deadlines
	}()
	return func() {
		cancel()
		<-gone
		rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // as above; the network connection may serve others
	}
}

func (h *httpServer) servePoll(w http.ResponseWriter, r *http.Request) {
	c, sequence := h.findSequence(w, r)
	if c == nil {
		return
	}
	defer c.begin()()
	answer, err := c.answer(r.Context(), sequence)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer.records)))
	if answer.last {
		w.Header().Set(endHeader, "1")
	}
	w.Write(answer.records) //nolint:errcheck // it is asked for again, if anybody is there
}
