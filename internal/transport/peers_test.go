package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
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
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, StreamPath, nil) //nolint:usetesting // it outlives the test's context
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
					pass(55 * time.Minute)
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
			if _, msg, err := ws.Read(context.Background()); err != nil || len(msg) != attachSize { //nolint:usetesting // it ends with the connection
				return
			}
			defer ws.CloseNow()
			ok := attached{epoch: 1, window: maxWindow, created: true, id: streamID{1}}
			ws.Write(context.Background(), websocket.MessageBinary, ok.bytes()) //nolint:usetesting // as above
			go func() {
				for ws.Ping(context.Background()) == nil { //nolint:usetesting // as above
					pass(100 * time.Millisecond)
				}
			}()
			for {
				if _, _, err := ws.Read(context.Background()); err != nil { //nolint:usetesting // as above
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

// attachRaw attaches by hand.
func (n *frameNet) attachRaw(t *testing.T, a attach) (attached, wire) {
	t.Helper()
	w, _, err := n.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(a.bytes()); err != nil {
		t.Fatal(err)
	}
	msg, err := w.read()
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	answer, err := parseAttached(msg)
	if err != nil {
		t.Fatal(err)
	}
	return answer, w
}

// OpenSSH CVE-2016-0777: a peer's positions are checked before a byte is sent.
func TestResumePositionsAreNotTrusted(t *testing.T) {
	for name, claim := range map[string]struct{ received, consumed uint64 }{
		"received ahead":           {1 << 40, 5},
		"received one ahead":       {1002, 5}, // the end counts as one, nothing after it
		"consumed ahead":           {5, 10},
		"consumed behind the acks": {900, 1},
		"all ones":                 {1<<64 - 1, 1<<64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFrameNet(testConfig())
				client, server := n.connect(t, n.endpoint())
				server.Write(soakText[:1000])
				receives(t, client, 0, 900)
				pass(time.Second)
				synctest.Wait()
				a := attach{id: client.keeper.id, epoch: 50, received: claim.received, consumed: claim.consumed, window: maxWindow}
				a.prove(client.keeper.key)
				answer, w := n.attachRaw(t, a)
				if answer.status != attachRange {
					t.Errorf("status %d", answer.status)
				}
				for { // and nothing of the stream comes after the answer
					frame, err := w.read()
					if err != nil {
						break
					}
					if frame[0] == frameData {
						t.Errorf("%d bytes were sent", len(frame))
					}
				}
			})
		})
	}
}

// Teleport pins the client's address: then Wi-Fi to LTE is the end. And what a
// stream's key is for: a wrong one, another stream's, and another account.
func TestWhoMayResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		other, otherServer := soakDial(t, n.l, n.endpoint())
		defer other.Abort()
		defer otherServer.Abort()
		n.mu.Lock()
		n.from = "[2001:db8::9]:9"
		n.mu.Unlock()
		for i, key := range []streamKey{{}, other.keeper.key} {
			a := attach{id: client.keeper.id, epoch: 50 + uint32(i), window: maxWindow}
			a.prove(key)
			if answer, _ := n.attachRaw(t, a); answer.status != attachProof || answer.created {
				t.Errorf("with key %d: %+v", i, answer)
			}
		}
		a := attach{id: streamID{1}, epoch: 2}
		if answer, _ := n.attachRaw(t, a); answer.status != attachUnknown {
			t.Errorf("unknown stream: %+v", answer)
		}
		// The proof of one attempt is none for another.
		a = attach{id: client.keeper.id, epoch: 50, window: maxWindow}
		a.prove(client.keeper.key)
		a.epoch = 51
		if answer, _ := n.attachRaw(t, a); answer.status != attachProof {
			t.Errorf("a proof used for another epoch: %+v", answer)
		}
		n.cut(false) // and the stream comes back from the new address
		go server.Write(soakText[:1000])
		receives(t, client, 0, 1000)
		if got := client.Stats().Resumes; got != 1 {
			t.Errorf("%d resumptions", got)
		}
	})
}

// Frames that make no sense end the wire, once; the stream, when they come
// again and again.
func TestSenselessFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"unknown":        {77},
		"empty":          {},
		"short":          {frameData, 1},
		"too long":       append(appendHeader(nil, frameData, 0, 0), make([]byte, maxPayload+1)...),
		"a gap":          append(appendHeader(nil, frameData, 0, 500), "x"...),
		"before its end": append(appendHeader(nil, frameFin, 0, 500), 0),
		"attach again":   (&attach{epoch: 9}).bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFrameNet(testConfig())
				answer, w := n.attachRaw(t, attach{epoch: 1, window: maxWindow})
				server, err := n.l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				for attempt := uint32(2); ; attempt++ {
					w.write(frame)
					for err = nil; err == nil; {
						_, err = w.read()
					}
					a := attach{id: answer.id, epoch: attempt, window: maxWindow}
					a.prove(answer.key)
					var again attached
					if again, w = n.attachRaw(t, a); again.status == attachUnknown {
						if attempt < maxFaults+1 {
							t.Errorf("the stream ended with fault %d", attempt-1)
						}
						break
					}
					if again.status != attachOK || attempt > maxFaults {
						t.Fatalf("attempt %d: %+v", attempt, again)
					}
				}
				var final *FinalError
				if _, err := server.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != Reset {
					t.Errorf("the stream ended with %v", err)
				}
				w.close()
				n.l.Close()
				pass(time.Minute)
			})
		})
	}
}

// An acknowledgement of what was never sent is the end of the stream.
func TestImpossibleAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		_, w := n.attachRaw(t, attach{epoch: 1, window: maxWindow})
		server, err := n.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.write(appendHeader(nil, frameAck, 1<<50, 0))
		var final *FinalError
		if _, err := server.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != OutOfRange {
			t.Errorf("the stream ended with %v", err)
		}
		for {
			msg, err := w.read()
			if err != nil {
				t.Errorf("the client was not told: %v", err)
				break
			}
			if msg[0] == frameReset {
				if msg[1] != resetRange {
					t.Errorf("the client was told %x", msg)
				}
				break
			}
		}
		w.close()
		n.l.Close()
		pass(time.Minute)
	})
}

// A handshake may come byte by byte: the request, and the attach in fragments.
func TestHandshakeInPieces(t *testing.T) {
	l, e := serve(t, false)
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := "GET " + StreamPath + " HTTP/1.1\r\nHost: twin.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + Subprotocol + "\r\n" +
		VersionHeader + ": " + testVersion + "\r\n\r\n"
	for i := range len(request) {
		if _, err := conn.Write([]byte{request[i]}); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %+v, %v", resp, err)
	}
	defer resp.Body.Close()
	for i, b := range (&attach{epoch: 1, window: maxWindow}).bytes() {
		opcode := byte(0) // goes on
		if i == 0 {
			opcode = 2 // binary
		}
		if i == attachSize-1 {
			opcode |= 0x80 // the last one
		}
		conn.Write([]byte{opcode, 0x80 | 1, 0, 0, 0, 0, b}) // masked by zeros
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 0x82 {
		t.Fatalf("answer to the attach: %x, %v", head, err)
	}
	msg := make([]byte, int(head[1]))
	if _, err := io.ReadFull(r, msg); err != nil {
		t.Fatal(err)
	}
	if answer, err := parseAttached(msg); err != nil || answer.status != attachOK || !answer.created {
		t.Errorf("attached: %+v, %v", answer, err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.(*Conn).Abort()
}

// A message longer than any frame is refused before it is in memory.
func TestLongMessage(t *testing.T) {
	l, e := serve(t, false)
	ws, _, err := websocket.Dial(t.Context(), e.URL+StreamPath, &websocket.DialOptions{ //nolint:bodyclose // the body is ws
		HTTPHeader: http.Header{VersionHeader: {testVersion}}, Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.Write(t.Context(), websocket.MessageBinary, (&attach{epoch: 1, window: maxWindow}).bytes())
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.(*Conn).Abort()
	long := append(appendHeader(nil, frameData, 0, 0), make([]byte, 10<<20)...)
	ws.Write(t.Context(), websocket.MessageBinary, long)
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			break
		}
	}
	server.SetReadDeadline(time.Now())
	if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Two clients that both believe the stream is theirs do not take it from each
// other for ever: the newest has it, the older one ends and says why.
func TestTwoClientsOfOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		synctest.Wait()
		a := attach{id: client.keeper.id, epoch: 1000, window: maxWindow}
		a.prove(client.keeper.key)
		answer, w := n.attachRaw(t, a)
		if answer.status != attachOK || answer.created {
			t.Fatalf("%+v", answer)
		}
		var final *FinalError
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != StaleEpoch {
			t.Errorf("the older client ended with %v", err)
		}
		n.mu.Lock()
		opened := len(n.wires)
		n.mu.Unlock()
		pass(20 * time.Second)
		n.mu.Lock()
		if len(n.wires) != opened {
			t.Error("the older client came back")
		}
		n.mu.Unlock()
		go server.Write([]byte("hello"))
		msg, err := w.read()
		for err == nil && msg[0] != frameData {
			msg, err = w.read()
		}
		if err != nil || binary.BigEndian.Uint64(msg[9:]) != 0 || string(msg[headerSize:]) != "hello" {
			t.Errorf("the newer client got %q, %v", msg, err)
		}
	})
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
