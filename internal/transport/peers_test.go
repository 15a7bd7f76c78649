package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// The tests here are the bugs that similar tools have shipped.

// A frameNet connects an Endpoint and a Listener by wires in memory.
type frameNet struct {
	l    *Listener
	from string // the client's address

	mu    sync.Mutex
	wires []*frameWire // the clients' ends
	down  bool
	wrap  func(client wire) wire
}

func newFrameNet(cfg ListenerConfig) *frameNet {
	return &frameNet{l: NewListener(cfg), from: "192.0.2.1:1"}
}

func (n *frameNet) endpoint() Endpoint {
	return Endpoint{URL: "http://twin.test", Version: testVersion, Client: &http.Client{}, opener: n.open}
}

func (n *frameNet) open(context.Context) (wire, Peer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, Peer{}, errors.New("network is down")
	}
	a, b := newFrameWires()
	n.wires = append(n.wires, a)
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, StreamPath, nil)
	r.RemoteAddr = n.from
	go n.l.serveWire(b, r)
	peer := Peer{Version: n.l.cfg.Version, Instance: n.l.cfg.Instance, HostKey: n.l.cfg.HostKey}
	if n.wrap != nil {
		return n.wrap(a), peer, nil
	}
	return a, peer, nil
}

// cut cuts what there is; while down, nothing new is made.
func (n *frameNet) cut(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	for _, w := range n.wires {
		w.close()
	}
	n.wires = nil
}

// connect is a stream over the network, which ends with the test. It must be
// inside synctest.Test.
func (n *frameNet) connect(t *testing.T, e Endpoint) (client, server *Conn) {
	t.Helper()
	client, server = soakDial(t, n.l, e)
	if client == nil {
		t.FailNow()
	}
	t.Cleanup(func() {
		client.Abort()
		server.Abort()
		n.l.Close()
		pass(time.Minute)
	})
	return client, server
}

// transfer moves total bytes each way and checks them.
func transfer(t *testing.T, client, server *Conn, total int) {
	t.Helper()
	var ends sync.WaitGroup
	for _, pair := range [][2]*Conn{{client, server}, {server, client}} {
		ends.Go(func() {
			for at := 0; at < total; {
				p := at % soakPeriod
				n, err := pair[0].Write(soakText[p : p+min(32<<10, total-at)])
				if at += n; err != nil {
					t.Errorf("writing at %d: %v", at, err)
					return
				}
			}
		})
		ends.Go(func() { receives(t, pair[1], 0, total) })
	}
	ends.Wait()
}

// receives reads the bytes of soakText from one position to another.
func receives(t *testing.T, c *Conn, at, total int) {
	t.Helper()
	buf := make([]byte, 48<<10)
	for at < total {
		n, err := c.Read(buf[:min(len(buf), total-at)])
		if p := at % soakPeriod; !bytes.Equal(buf[:n], soakText[p:p+n]) {
			t.Errorf("what arrived at %d is not what was sent", at)
			return
		}
		if at += n; err != nil {
			t.Errorf("reading at %d: %v", at, err)
			return
		}
	}
}

// Databricks#6558: a full replay buffer is back-pressure, not an error. A
// transfer may be any number of times as long as the window.
func TestTransferFarBeyondTheWindow(t *testing.T) {
	total := 6 << 20
	if os.Getenv("CLOUDSSH_SOAK") != "" {
		total = 1 << 30
	}
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.window = minWindow
		n := newFrameNet(cfg)
		e := n.endpoint()
		e.window = minWindow
		client, server := n.connect(t, e)
		transfer(t, client, server, total)
		if n := client.Stats().Wires; n != 1 {
			t.Errorf("it took %d wires", n)
		}
	})
}

// Databricks#6650: both buffers full, a roll-over in the middle so that both
// sides send again at once, then the end: no deadlock, and no last byte lost.
func TestRollOverWithFullBuffersThenEOF(t *testing.T) {
	for _, how := range []string{"roll-over", "cut"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig()
				cfg.window = 256 << 10
				cfg.RequestTimeout = time.Hour
				n := newFrameNet(cfg)
				e := n.endpoint()
				e.window = 256 << 10
				client, server := n.connect(t, e)
				const total = 1 << 20
				var writers sync.WaitGroup
				for _, c := range []*Conn{client, server} {
					writers.Go(func() {
						for at := 0; at < total; at += 1 << 10 {
							p := at % soakPeriod
							if _, err := c.Write(soakText[p : p+1<<10]); err != nil {
								t.Errorf("writing at %d: %v", at, err)
								return
							}
						}
						if err := c.CloseWrite(); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait() // nobody reads: all that fits is under way
				for _, c := range []*Conn{client, server} {
					c.mu.Lock()
					if held := c.out.len(); held < 200<<10 {
						t.Errorf("only %d bytes wait", held)
					}
					c.mu.Unlock()
				}
				if how == "cut" {
					n.cut(false)
				} else {
					pass(56 * time.Minute) // it moves at 90 %, give or take 3
				}
				synctest.Wait()
				if got := client.Stats().Resumes; got != 1 {
					t.Errorf("%d resumptions", got)
				}
				var readers sync.WaitGroup
				for _, c := range []*Conn{client, server} {
					readers.Go(func() {
						receives(t, c, 0, total)
						if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
							t.Errorf("after the end: %v", err)
						}
					})
				}
				readers.Wait()
				writers.Wait()
			})
		})
	}
}

// A stuckWire takes no more writes from a moment on, as a connection whose peer
// reads nothing.
type stuckWire struct {
	wire
	stuck atomic.Bool
	freed chan struct{}
	once  sync.Once
}

func (w *stuckWire) write(frames ...[]byte) error {
	if w.stuck.Load() {
		<-w.freed
		return net.ErrClosed
	}
	return w.wire.write(frames...)
}

func (w *stuckWire) close() error {
	w.once.Do(func() { close(w.freed) })
	return w.wire.close()
}

// Databricks#6650: the reader never writes. While our own writes are stuck, what
// the peer sends is received all the same, acknowledgements among it.
func TestReaderNeverWaitsForTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		var stuck *stuckWire
		n.wrap = func(w wire) wire {
			stuck = &stuckWire{wire: w, freed: make(chan struct{})}
			return stuck
		}
		client, server := n.connect(t, n.endpoint())
		if _, err := client.Write(soakText[:1000]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stuck.stuck.Store(true)
		go client.Write(soakText[:100]) // is stuck now
		receives(t, server, 0, 1000)    // its acknowledgement has to be read
		if _, err := server.Write(soakText[:200<<10%soakPeriod]); err != nil {
			t.Fatal(err)
		}
		receives(t, client, 0, 200<<10%soakPeriod)
		pass(ackDelay)
		synctest.Wait()
		client.mu.Lock()
		if acked := client.acked(); acked != 1000 {
			t.Errorf("acknowledged up to %d while writes are stuck, want 1000", acked)
		}
		client.mu.Unlock()
	})
}

// Databricks#6689: one window for each round trip is what a transfer gets at
// most, so 1 MiB is too little: 120 ms made 70 Mbit/s of any line.
func TestWindowFillsALongFatPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rtt = 120 * time.Millisecond
		n := newDelayNet(rtt / 2)
		l := NewListener(testConfig())
		srv := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
		go srv.Serve(n)
		client, server := soakDial(t, l, Endpoint{
			URL: "http://twin.test", Version: testVersion,
			Client: &http.Client{Transport: &http.Transport{DialContext: n.dial}},
		})
		defer func() {
			client.Abort()
			server.Abort()
			l.Close()
			srv.Close()
			pass(time.Minute)
		}()
		const warm, total = 6 << 20, 14 << 20
		go func() {
			for at := 0; at < total; at += soakPeriod {
				client.Write(soakText[:min(soakPeriod, total-at)])
			}
		}()
		receives(t, server, 0, warm) // until the limit on what is in flight has grown
		start := time.Now()
		receives(t, server, warm, total)
		rate := (total - warm) / time.Since(start).Seconds()
		if least := float64(2<<20) / rtt.Seconds(); rate < least {
			t.Errorf("%.1f MB/s at %s, want %.1f", rate/1e6, rtt, least/1e6)
		}
	})
}

// A tap sees what is written to a wire.
type tap struct {
	wire
	see func(frame []byte)
}

func (w *tap) write(frames ...[]byte) error {
	for _, f := range frames {
		w.see(f)
	}
	return w.wire.write(frames...)
}

// Databricks#6358, #6382: proxies count data only, and reap what is idle. An
// idle stream sends frames of its own, both ways, often enough.
func TestKeepAliveIsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		last, longest := time.Now(), time.Duration(0)
		n.wrap = func(w wire) wire {
			return &tap{w, func([]byte) {
				longest = max(longest, time.Since(last))
				last = time.Now()
			}}
		}
		client, _ := n.connect(t, n.endpoint())
		pass(time.Hour)
		synctest.Wait()
		stats := client.Stats()
		if longest > 20*time.Second || time.Since(last) > 20*time.Second {
			t.Errorf("nothing was sent for %s", longest)
		}
		if got := stats.FramesIn; got < 200 {
			t.Errorf("%d frames came in an hour", got)
		}
		if stats.Wires != 1 {
			t.Errorf("%d wires", stats.Wires)
		}
	})
}

// WebSocket pings are ended by the proxy next to us: they say nothing about the
// agent. One that answers pings and nothing else is dead.
func TestWebSocketPingsAreNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newDelayNet(time.Millisecond)
		var upgrades atomic.Int32
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upgrades.Add(1)
			w.Header().Set(VersionHeader, testVersion)
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
			if err != nil {
				return
			}
			if _, msg, err := ws.Read(context.Background()); err != nil || len(msg) != attachSize {
				return
			}
			defer ws.CloseNow()
			ok := attached{epoch: 1, window: maxWindow, created: true, id: streamID{1}}
			ws.Write(context.Background(), websocket.MessageBinary, ok.bytes())
			go func() {
				for ws.Ping(context.Background()) == nil {
					pass(100 * time.Millisecond)
				}
			}()
			for {
				if _, _, err := ws.Read(context.Background()); err != nil {
					return
				}
			}
		})}
		go srv.Serve(n)
		lost := make(chan time.Time, 100)
		client, err := Dial(t.Context(), Endpoint{
			URL: "http://twin.test", Version: testVersion, Wire: WireWebSocket,
			Client: &http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}},
			Observe: func(s State) {
				if s.Phase == Suspect || s.Phase == Lost {
					lost <- time.Now()
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		client.Write([]byte("x"))
		if took := (<-lost).Sub(start); took > 2*clientDead {
			t.Errorf("the loss was seen after %s", took)
		}
		client.Abort()
		srv.Close()
		pass(time.Minute)
	})
}

// Eternal Terminal#762: output while the client is away waits, in bounded
// memory, and neither end dies of it.
func TestOutputWhileDetachedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		synctest.Wait()
		n.cut(true)
		const total = 32 << 20
		var written atomic.Int64
		go func() {
			for at := 0; at < total; {
				p := at % soakPeriod
				m, err := server.Write(soakText[p : p+min(32<<10, total-at)])
				if at += m; err != nil {
					t.Errorf("writing at %d: %v", at, err)
					return
				}
				written.Store(int64(at))
			}
		}()
		pass(12 * time.Hour)
		synctest.Wait()
		if got := written.Load(); got > maxWindow || got < maxWindow/2 {
			t.Errorf("%d bytes were taken while nobody was there", got)
		}
		server.mu.Lock()
		if held := server.out.len(); held > maxWindow {
			t.Errorf("%d bytes are held", held)
		}
		server.mu.Unlock()
		n.cut(false)
		receives(t, client, 0, total)
	})
}

// Eternal Terminal#797: a network that never lives long enough for all that
// waits still gets it across, in pieces.
func TestRecoveryInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		synctest.Wait()
		n.cut(true)
		const total = 4 << 20
		go func() {
			for at := 0; at < total; at += 1 << 10 {
				p := at % soakPeriod
				server.Write(soakText[p : p+1<<10])
			}
		}()
		synctest.Wait()
		n.wrap = func(w wire) wire { // each wire lives for three frames from the agent
			return &shortWire{wire: w, left: 4}
		}
		n.cut(false)
		receives(t, client, 0, total)
		if got := client.Stats().Wires; got < 10 {
			t.Errorf("%d wires: the test tests little", got)
		}
	})
}

type shortWire struct {
	wire
	left int
}

func (w *shortWire) read() ([]byte, error) {
	if w.left--; w.left < 0 {
		w.close()
		return nil, io.ErrUnexpectedEOF
	}
	return w.wire.read()
}

// wstunnel#400, remotedialer#20: any frame is a sign of life. Answers to our
// PINGs may be stuck behind a transfer for as long as it takes.
func TestAnyFrameIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		n := newFrameNet(cfg)
		n.wrap = func(w wire) wire { return &noPongs{w} }
		e := n.endpoint()
		e.Observe = func(s State) {
			if s.Phase == Suspect || s.Phase == Lost {
				t.Errorf("state %+v", s)
			}
		}
		client, server := n.connect(t, e)
		var stop atomic.Bool
		go func() {
			for !stop.Load() {
				server.Write([]byte("line\n"))
				pass(400 * time.Millisecond)
			}
		}()
		go io.Copy(io.Discard, client)
		client.Write([]byte("x")) // is never acknowledged: nobody reads it
		pass(10 * time.Minute)
		stop.Store(true)
		e.Observe = nil
	})
}

type noPongs struct{ wire }

func (w *noPongs) read() ([]byte, error) {
	for {
		frame, err := w.wire.read()
		if err != nil || frame[0] != framePong {
			return frame, err
		}
	}
}

// Many streams are cut at once, again and again, and all come back: what a
// deployment of the front door does.
func TestAllStreamsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Backlog = 50
		n := newFrameNet(cfg)
		var clients, servers []*Conn
		for range 50 {
			client, server := n.connect(t, n.endpoint())
			clients, servers = append(clients, client), append(servers, server)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for round := range 5 {
			var ends sync.WaitGroup
			for i := range clients {
				text := fmt.Appendf(nil, "round %d of stream %d", round, i)
				ends.Go(func() { clients[i].Write(text) })
				ends.Go(func() {
					got := make([]byte, len(text))
					if _, err := io.ReadFull(servers[i], got); err != nil || !bytes.Equal(got, text) {
						t.Errorf("stream %d got %q, %v", i, got, err)
					}
				})
				if i == rnd.IntN(50) {
					n.cut(false)
				}
			}
			n.cut(false)
			ends.Wait()
		}
	})
}
