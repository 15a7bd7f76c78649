package transport

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// defaultBacklog is how many streams may wait for Accept.
const defaultBacklog = 16

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
}

// A Listener makes a net.Listener out of HTTP requests: as an http.Handler it
// answers StreamPath and StatusPath, and each stream opened there comes out of
// Accept. It keeps no record of streams once they are accepted.
type Listener struct {
	cfg     ListenerConfig
	slots   chan struct{} // one per stream upgraded or being upgraded, not accepted
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
	l := &Listener{
		cfg:   cfg,
		slots: make(chan struct{}, cfg.Backlog),
		conns: make(chan *Conn, cfg.Backlog),
		mux:   http.NewServeMux(),
		done:  make(chan struct{}),
	}
	l.mux.HandleFunc("GET "+StatusPath, l.serveStatus)
	l.mux.HandleFunc("GET "+StreamPath, l.serveStream)
	return l
}

// Refuse answers every later upgrade with an HTTP status: 410 when the twin is
// about to be deleted. 0 admits upgrades again.
func (l *Listener) Refuse(code int) { l.refuse.Store(int32(code)) }

// Accept waits for the next stream, which is a *Conn. After Close the error is
// net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-l.conns:
		<-l.slots
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and the handlers, and closes streams that nobody accepted.
// Accepted streams go on.
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.done) })
	return nil
}

// Shutdown ends Accept, refuses every later stream, tells the clients that the
// instance stops, and waits until what was written to the streams has been
// acknowledged or ctx ends.
func (l *Listener) Shutdown(ctx context.Context) error {
	return errors.Join(l.Close(), context.Cause(ctx))
}

// Addr names the instance: the listener has no address of its own.
func (l *Listener) Addr() net.Addr { return addr(l.cfg.Instance) }

// ServeHTTP answers the agent's two paths. For a stream it returns when the
// stream has ended or the Listener is closed.
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
	if code := int(l.refuse.Load()); code != 0 {
		http.Error(w, refusal(code), code)
		return
	}
	if client := r.Header.Get(VersionHeader); client != l.cfg.Version {
		http.Error(w, fmt.Sprintf("the agent is version %s, the client %q", l.cfg.Version, client), http.StatusUpgradeRequired)
		return
	}
	if !offers(r, Subprotocol) {
		http.Error(w, "this is an agent of cloudssh; it speaks the WebSocket subprotocol "+Subprotocol, http.StatusBadRequest)
		return
	}
	select {
	case <-l.done:
		http.Error(w, "the agent is shutting down", http.StatusServiceUnavailable)
		return
	default:
	}
	select {
	case l.slots <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many streams wait to be accepted", http.StatusServiceUnavailable)
		return
	}
	conn, err := l.upgrade(w, r)
	if err != nil {
		<-l.slots
		return
	}
	l.conns <- conn // never blocks: it has a slot
	l.wait(conn)
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

// wait returns when the stream ends or the listener closes, and then sees to
// streams that were left in the backlog.
func (l *Listener) wait(conn *Conn) {
	select {
	case <-conn.link.done:
		return
	case <-l.done:
	}
	for {
		select {
		case left := <-l.conns:
			left.Close() //nolint:errcheck // nobody ever used it
		default:
			return
		}
	}
}

// upgrade answers 101. After an error the answer has been given.
func (l *Listener) upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	w.Header().Set(InstanceHeader, l.cfg.Instance)
	w.Header().Set(HostKeyHeader, l.cfg.HostKey)
	s := newStream(l.Addr(), addr(r.RemoteAddr))
	link := newLink(s, serverDead)
	hijacker := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(hijacker, r, &websocket.AcceptOptions{
		Subprotocols:   []string{Subprotocol},
		OnPingReceived: link.answerPing,
	})
	if err != nil {
		return nil, err
	}
	link.attach(ws, hijacker.conn, func() error { return nil })
	peer := Peer{Version: l.cfg.Version, Instance: l.cfg.Instance, HostKey: l.cfg.HostKey}
	return &Conn{stream: s, peer: peer}, nil
}

// A hijacker remembers the connection that the WebSocket library takes over,
// because the library does not let go of it.
type hijacker struct {
	http.ResponseWriter
	conn io.Closer
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}
