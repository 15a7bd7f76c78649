package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
)

// A wsWire is a wire of binary WebSocket messages.
//
// The library is only ever given context.Background(), because it closes a
// connection whose context ends, and none of its deadlines, which do the same;
// to stop a read or a write, the network connection below is closed. Its pings
// are not used: intermediate proxies answer them, or swallow them.
type wsWire struct {
	ws      *websocket.Conn
	conn    *coalescer // the network connection
	cut     func()     // closes it, once, without waiting
	heard   func()
	inside  bool            // read is within a message
	buf     *[maxFrame]byte // of the frame last read
	writing atomic.Bool     // a write is under way
}

// newWSWire makes a wire without its WebSocket, which attach adds: the
// WebSocket's callback needs the wire.
func newWSWire() *wsWire { return &wsWire{heard: func() {}} }

func (w *wsWire) attach(ws *websocket.Conn, conn *coalescer) {
	w.ws, w.conn = ws, conn
	// In the background: closing a TLS connection whose peer reads nothing may
	// wait for seconds to send its alert.
	w.cut = sync.OnceFunc(func() {
		go func() {
			conn.Close()  //nolint:errcheck // nothing is left to do about it
			ws.CloseNow() //nolint:errcheck // closed already; this frees its buffers
		}()
	})
	ws.SetReadLimit(maxFrame + 1)
}

// came is called by the connection, from read, for all bytes that come. Those
// between messages may be a proxy's pings, which say nothing about the peer.
func (w *wsWire) came() {
	if w.inside {
		w.heard()
	}
}

// answerPing decides on WebSocket pings, which only a proxy would send. While
// our writer is blocked the answer would have to wait behind it, and the
// library fails the read after five seconds of that: better no answer.
func (w *wsWire) answerPing(context.Context, []byte) bool { return !w.writing.Load() }

func (w *wsWire) name() string          { return WireWebSocket.String() }
func (w *wsWire) progress(heard func()) { w.heard = heard }

func (w *wsWire) close() error {
	w.cut()
	return nil
}

func (w *wsWire) read() ([]byte, error) {
	if w.buf != nil { // none is held while there is nothing to read
		frames.Put(w.buf)
		w.buf = nil
	}
	kind, r, err := w.ws.Reader(context.Background())
	if err != nil {
		return nil, wsError(err)
	}
	if kind != websocket.MessageBinary {
		return nil, &protocolError{"text message where frames are binary"}
	}
	w.inside = true
	defer func() { w.inside = false }()
	w.heard()
	w.buf = frames.Get().(*[maxFrame]byte)
	for n := 0; ; {
		if n == len(w.buf) { // there may be nothing more but the end
			if _, err := r.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
				return w.buf[:], nil
			}
			return nil, &protocolError{errLongFrame.Error()}
		}
		m, err := r.Read(w.buf[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF):
			return w.buf[:n], nil
		case err != nil:
			return nil, wsError(err)
		}
	}
}

// keep leaves the buffer of the frame last read to the caller.
func (w *wsWire) keep() *[maxFrame]byte {
	buf := w.buf
	w.buf = nil
	return buf
}

func (w *wsWire) write(frames ...[]byte) error {
	w.writing.Store(true)
	defer w.writing.Store(false)
	w.conn.hold()
	for _, f := range frames {
		if err := w.ws.Write(context.Background(), websocket.MessageBinary, f); err != nil {
			return wsError(err)
		}
	}
	if err := w.conn.Flush(); err != nil {
		return wsError(err)
	}
	return nil
}

// wsError puts an error of the library plainly.
func wsError(err error) error {
	var closed websocket.CloseError
	var network *net.OpError
	switch {
	case errors.As(err, &closed):
		return fmt.Errorf("closed by the other end: %s (%s)", closed.Reason, closed.Code)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, websocket.ErrMessageTooBig):
		return &protocolError{errLongFrame.Error()}
	case errors.As(err, &network):
		return network
	}
	return err
}

// acceptWS answers an upgrade. After an error the answer has been given.
func acceptWS(w http.ResponseWriter, r *http.Request) (wire, error) {
	ours := newWSWire()
	hijacker := &hijacker{ResponseWriter: w, heard: ours.came}
	ws, err := websocket.Accept(hijacker, r, &websocket.AcceptOptions{
		Subprotocols:   []string{Subprotocol},
		OnPingReceived: ours.answerPing,
	})
	if err != nil {
		return nil, err
	}
	ours.attach(ws, hijacker.conn.coalescer)
	return ours, nil
}

// A hijacker puts a coalescer around the connection that the WebSocket library
// takes over, and remembers it, because the library does not let go of it.
type hijacker struct {
	http.ResponseWriter
	heard func()
	conn  *coalescedConn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_, vectors := conn.(*net.TCPConn)
	h.conn = &coalescedConn{Conn: conn, coalescer: &coalescer{ReadWriteCloser: conn, heard: h.heard, vectors: vectors}}
	return h.conn, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(h.conn, smallPiece)), nil
}

// A coalescedConn is a net.Conn that a coalescer reads and writes.
type coalescedConn struct {
	net.Conn
	*coalescer
}

func (c *coalescedConn) Read(p []byte) (int, error)  { return c.coalescer.Read(p) }
func (c *coalescedConn) Write(p []byte) (int, error) { return c.coalescer.Write(p) }
func (c *coalescedConn) Close() error                { return c.Conn.Close() }
