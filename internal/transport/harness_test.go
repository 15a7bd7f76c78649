package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const testVersion = "v1.2.3"

func testConfig() ListenerConfig {
	return ListenerConfig{Version: testVersion, Instance: "c0ffee", HostKey: "ssh-ed25519 AAAAC3Nz"}
}

// serve runs a listener behind a real HTTP server, over TLS or not.
func serve(t testing.TB, secure bool) (*Listener, Endpoint) {
	t.Helper()
	l := NewListener(testConfig())
	e := serveHandler(t, l, secure)
	t.Cleanup(func() { l.Close() })
	return l, e
}

func serveHandler(t testing.TB, h http.Handler, secure bool) Endpoint {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	e := Endpoint{Version: testVersion}
	if secure {
		srv.StartTLS()
		transport := newTransport()
		transport.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
		e.Client = &http.Client{Transport: transport}
	} else {
		srv.Start()
	}
	e.URL = srv.URL
	t.Cleanup(srv.Close)
	return e
}

// pair is a connected client and server end.
func pair(t testing.TB, l *Listener, e Endpoint) (client *Conn, server net.Conn) {
	t.Helper()
	client, err := Dial(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBoth(client, server) })
	return client, server
}

// linger makes both ends wait in Close for as long as a machine with other
// things to do may take.
func linger(client, server net.Conn, d time.Duration) {
	client.(*Conn).linger, server.(*Conn).linger = d, d
}

// closeBoth closes both ends at once: neither waits for the other to read.
func closeBoth(client, server net.Conn) {
	var closing sync.WaitGroup
	closing.Go(func() { client.Close() })
	closing.Go(func() { server.Close() })
	closing.Wait()
}

// unplug cuts the wire that a client has, if it has one.
func unplug(client *Conn) {
	client.mu.Lock()
	defer client.mu.Unlock()
	if client.link != nil {
		client.link.w.close()
	}
}

// A memNet is a network of net.Pipes, so that time in a synctest bubble can
// pass while a connection waits.
type memNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	// lost is a black hole both ways: writes succeed and arrive nowhere.
	lost atomic.Bool
	// slow makes the network carry 1 KiB per second.
	slow atomic.Bool

	cuts atomic.Int32 // connections that reached their lifetime

	mu   sync.Mutex
	all  []net.Conn
	life time.Duration // 0: no end

	gate *gate

	cut  int64 // mean of the bytes between cuts, 0: none
	left int64 // bytes to the next one
}

// cutEvery cuts all connections within a write every mean bytes, more or less.
func (n *memNet) cutEvery(mean int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut, n.left = mean, mean
}

// allowed is how many of size bytes get through before a cut.
func (n *memNet) allowed(size int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut == 0 || n.left >= int64(size) {
		n.left -= int64(size)
		return size
	}
	through := int(n.left)
	n.left = rand.Int64N(2 * n.cut)
	return through
}

// lifetime is when connections to come are cut.
func (n *memNet) lifetime(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.life = d
}

// heal ends a black hole. What went in is lost, and what was connected through
// it stays dead.
func (n *memNet) heal() {
	n.sever()
	n.lost.Store(false)
}

func newMemNet() *memNet {
	return &memNet{conns: make(chan net.Conn), done: make(chan struct{}), gate: &gate{}}
}

func (n *memNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *memNet) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

func (n *memNet) Addr() net.Addr { return addr("memory") }

func (n *memNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	n.mu.Lock()
	n.all = append(n.all, client)
	gate := n.gate
	if n.life > 0 {
		time.AfterFunc(n.life, func() {
			if client.SetDeadline(time.Time{}) == nil { // it is still open
				n.cuts.Add(1)
				client.Close()
			}
		})
	}
	n.mu.Unlock()
	select {
	case n.conns <- &lossy{server, n, gate}:
		return &lossy{client, n, gate}, nil
	case <-n.done:
		return nil, errors.New("network closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sever cuts all connections without a word of WebSocket.
func (n *memNet) sever() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.all {
		c.Close()
	}
	n.all = nil
}

// A gate stalls the connections that were made with it while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil: it is open
}

// shut stalls the connections there are, and gives those to come a new gate.
func (n *memNet) shut() *gate {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.gate
	n.gate = &gate{}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
	return g
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = nil
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open != nil {
		<-open
	}
}

type lossy struct {
	net.Conn
	net  *memNet
	gate *gate
}

func (c *lossy) Write(p []byte) (int, error) {
	c.gate.pass()
	if c.net.lost.Load() {
		return len(p), nil
	}
	n := 0
	if through := c.net.allowed(len(p)); through < len(p) {
		m, _ := c.Conn.Write(p[:through])
		c.net.sever()
		return m, errors.New("cut")
	}
	for c.net.slow.Load() && len(p)-n > 1024 {
		pass(time.Second)
		m, err := c.Conn.Write(p[n : n+1024])
		n += m
		if err != nil {
			return n, err
		}
	}
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

// Close does not reach the other end of a lossy network either.
func (c *lossy) Close() error {
	if c.net.lost.Load() {
		return c.SetDeadline(time.Now())
	}
	return c.Conn.Close()
}

// pass lets d of a synctest bubble's time go by. It is for bubbles only, where
// the clock jumps ahead as soon as all goroutines wait: nothing really sleeps.
func pass(d time.Duration) { <-time.After(d) }

// network is serve over a memNet, to be used inside synctest.Test.
func network(t *testing.T) (n *memNet, l *Listener, e Endpoint) {
	t.Helper()
	n = newMemNet()
	l = NewListener(testConfig())
	srv := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(n)
	}()
	t.Cleanup(func() {
		n.sever()
		l.Close()
		srv.Close()
		<-served
	})
	return n, l, Endpoint{
		URL:     "http://twin.test",
		Version: testVersion,
		Client:  &http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}},
	}
}

// bubble is pair over a memNet, to be used inside synctest.Test.
func bubble(t *testing.T) (n *memNet, client *Conn, server net.Conn) {
	t.Helper()
	n, l, e := network(t)
	client, server = pair(t, l, e)
	return n, client, server
}
