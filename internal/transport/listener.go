package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultBacklog = 16
	defaultKeep    = 24 * time.Hour
	defaultStreams = 1000
	// handshakeTimeout is how long a client has for its attach after the
	// upgrade.
	handshakeTimeout = 10 * time.Second
	// freshLoss is how long ago a client may have been lost for Shutdown to
	// wait for it.
	freshLoss = 5 * time.Second
)

// ListenerConfig is what an agent says of itself.
type ListenerConfig struct {
	Version  string // build version; clients of another are refused
	Instance string // id of this instance, hex
	HostKey  string // SSH host key in authorized_keys form
	// Backlog bounds the streams that wait for Accept; more are answered 503.
	// 0 means 16.
	Backlog int
	// RequestTimeout is when the platform cuts a request; 0 means that nobody
	// knows. Clients move over to a new one before.
	RequestTimeout time.Duration
	// Keep is how long a stream is kept without a wire. 0 means 24 hours.
	Keep time.Duration
	// MaxStreams bounds the streams there are at once. 0 means 1000.
	MaxStreams int
	// Logger gets what happens on the wires, at debug level. Nil discards it.
	Logger *slog.Logger

	window int // bytes taken unread; 0 means maxWindow
}

// A Listener makes a net.Listener out of HTTP requests: as an http.Handler it
// answers StreamPath, StatusPath and the paths of the HTTP wire. Each stream
// opened there comes out of Accept, and is kept for the client to come back to
// when its wire is lost.
type Listener struct {
	cfg     ListenerConfig
	streams *registry
	slots   chan struct{} // one per stream not accepted yet
	conns   chan *Conn
	refuse  atomic.Int32
	mux     *http.ServeMux
	done    chan struct{}
	closing sync.Once
}

var (
	_ net.Listener = (*Listener)(nil)
	_ http.Handler = (*Listener)(nil)
)

// NewListener makes a Listener. An http.Server, not the Listener, owns the port.
func NewListener(cfg ListenerConfig) *Listener {
	if cfg.Backlog <= 0 {
		cfg.Backlog = defaultBacklog
	}
	if cfg.Keep <= 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultStreams
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		cfg:     cfg,
		streams: newRegistry(cfg.Keep, cfg.MaxStreams),
		slots:   make(chan struct{}, cfg.Backlog),
		conns:   make(chan *Conn, cfg.Backlog),
		mux:     http.NewServeMux(),
		done:    make(chan struct{}),
	}
	l.mux.HandleFunc("GET "+StatusPath, l.serveStatus)
	l.mux.HandleFunc("GET "+StreamPath, l.serveStream)
	l.routeHTTP()
	return l
}

// Refuse answers every later upgrade with an HTTP status: 410 when the twin is
// about to be deleted. 0 admits upgrades again.
func (l *Listener) Refuse(code int) { l.refuse.Store(int32(code)) }

// Accept waits for the next stream, which is a *Conn. After Close the error is
// net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	if l.closed() {
		return nil, net.ErrClosed
	}
	select {
	case conn := <-l.conns:
		<-l.slots
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Close ends Accept, and the streams that nobody accepted. Accepted streams go
// on and may be resumed; there will be no new ones.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.done) })
	l.drain()
	return nil
}

// drain ends the streams that nobody will accept.
func (l *Listener) drain() {
	for {
		select {
		case left := <-l.conns:
			left.Abort() //nolint:errcheck // it has none
		default:
			return
		}
	}
}

// Shutdown is Close for an instance that stops: it tells the clients so, and
// waits until they have consumed what was written to their streams, or ctx
// ends. Streams that were lost a while ago are not waited for.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.Close()
	for _, t := range l.streams.all() {
		s := t.stream
		s.mu.Lock()
		if s.link != nil {
			s.link.away = newGoAway(goAwayShutdown, 0)
			s.link.work.Signal()
		}
		s.mu.Unlock()
	}
	for _, t := range l.streams.all() {
		flushed := t.stream.flushed()
		if flushed == nil {
			continue
		}
		select {
		case <-flushed:
		case <-t.stream.done:
		case <-ctx.Done():
			return fmt.Errorf("waiting for clients to take their last output: %w", context.Cause(ctx))
		}
	}
	return err
}

// Addr names the instance: the listener has no address of its own.
func (l *Listener) Addr() net.Addr { return addr(l.cfg.Instance) }

// ServeHTTP answers the agent's paths. For a wire it returns when the wire is
// over.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(VersionHeader, l.cfg.Version)
	l.mux.ServeHTTP(w, r)
}

func (l *Listener) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(Status{Version: l.cfg.Version, Instance: l.cfg.Instance}) //nolint:errcheck // the caller is gone
}

func (l *Listener) serveStream(w http.ResponseWriter, r *http.Request) {
	if !l.admit(w, r) {
		return
	}
	if !offers(r, Subprotocol) {
		http.Error(w, "this is an agent of cloudssh; it speaks the WebSocket subprotocol "+Subprotocol, http.StatusBadRequest)
		return
	}
	ours, err := acceptWS(w, r)
	if err != nil {
		return
	}
	l.serveWire(ours, r)
}

// admit says who we are, and whether a wire may be opened now. If not, it has
// answered.
func (l *Listener) admit(w http.ResponseWriter, r *http.Request) bool {
	if code := int(l.refuse.Load()); code != 0 {
		http.Error(w, refusal(code), code)
		return false
	}
	if client := r.Header.Get(VersionHeader); client != l.cfg.Version {
		http.Error(w, fmt.Sprintf("the agent is version %s, the client %q", l.cfg.Version, client), http.StatusUpgradeRequired)
		return false
	}
	if len(l.slots) == cap(l.slots) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many streams wait to be accepted", http.StatusServiceUnavailable)
		return false
	}
	w.Header().Set(InstanceHeader, l.cfg.Instance)
	w.Header().Set(HostKeyHeader, l.cfg.HostKey)
	return true
}

// offers reports whether the client offers a WebSocket subprotocol.
func offers(r *http.Request, subprotocol string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), subprotocol) {
				return true
			}
		}
	}
	return false
}

func refusal(code int) string {
	if code == http.StatusGone {
		return "this twin is about to be deleted"
	}
	return http.StatusText(code)
}
