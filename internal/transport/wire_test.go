package transport

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wireServer answers the HTTP wire's requests and hands its wires out.
func wireServer(t testing.TB) (h *httpServer, wires <-chan wire) {
	t.Helper()
	l := NewListener(testConfig())
	l.mux = http.NewServeMux()
	ready := make(chan wire, 8)
	h = newHTTPServer(l, func(w wire, _ *http.Request) {
		ready <- w
		<-w.(*httpConn).ended
	})
	h.route()
	t.Cleanup(func() { l.Close() })
	return h, ready
}

// wirePair is a connected HTTP wire over a real network.
func wirePair(t *testing.T, polls bool) (client, server wire) {
	t.Helper()
	h, wires := wireServer(t)
	srv := httptest.NewServer(h.l)
	t.Cleanup(srv.Close)
	client, peer, err := Endpoint{URL: srv.URL, Version: testVersion}.openHTTP(t.Context(), polls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.close() })
	if want := (Peer{Version: testVersion, Instance: "c0ffee", HostKey: "ssh-ed25519 AAAAC3Nz"}); peer != want {
		t.Errorf("peer = %+v, want %+v", peer, want)
	}
	if err := client.write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	server = <-wires
	t.Cleanup(func() { server.close() })
	if got, err := server.read(); err != nil || string(got) != "first" {
		t.Fatalf("read %q, %v", got, err)
	}
	return client, server
}

func modes(t *testing.T, test func(t *testing.T, polls bool)) {
	t.Helper()
	for name, polls := range map[string]bool{"stream": false, "polls": true} {
		t.Run(name, func(t *testing.T) { test(t, polls) })
	}
}

// Frames of all sizes arrive whole and in order, both ways at once.
func TestHTTPWire(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		client, server := wirePair(t, polls)
		var ends sync.WaitGroup
		for i, pair := range [][2]wire{{client, server}, {server, client}} {
			ends.Go(func() { writeFrames(t, pair[0], uint64(i), 2000) })
			ends.Go(func() { readFrames(t, pair[1], uint64(i), 2000) })
		}
		ends.Wait()
	})
}

func frameOf(rnd *rand.Rand, i int) []byte {
	f := make([]byte, 8+rnd.IntN(1<<rnd.IntN(17))%(maxFrame-8))
	for j := range f {
		f[j] = byte(i + j)
	}
	binary.BigEndian.PutUint64(f, uint64(i))
	return f
}

func writeFrames(t *testing.T, w wire, seed uint64, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < n; {
		var frames [][]byte
		for range 1 + i%3 {
			frames = append(frames, frameOf(rnd, i))
			if i++; i == n {
				break
			}
		}
		if err := w.write(frames...); err != nil {
			t.Errorf("writing frame %d: %v", i, err)
			return
		}
	}
}

func readFrames(t *testing.T, w wire, seed uint64, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		got, err := w.read()
		if err != nil {
			t.Errorf("reading frame %d: %v", i, err)
			return
		}
		if !bytes.Equal(got, frameOf(rnd, i)) {
			t.Errorf("frame %d arrived wrong", i)
			return
		}
	}
}

// Either end's close ends the other, after what was written.
func TestHTTPWireClose(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		t.Run("agent", func(t *testing.T) {
			client, server := wirePair(t, polls)
			if err := server.write([]byte("farewell")); err != nil {
				t.Fatal(err)
			}
			server.close()
			if got, err := client.read(); err != nil || string(got) != "farewell" {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := client.read(); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			if _, err := server.read(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the closed end reads %v", err)
			}
			if err := server.write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the closed end writes: %v", err)
			}
		})
		t.Run("client", func(t *testing.T) {
			client, server := wirePair(t, polls)
			if err := client.write([]byte("farewell")); err != nil {
				t.Fatal(err)
			}
			client.close()
			if got, err := server.read(); err == nil && string(got) != "farewell" {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := client.read(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the closed end reads %v", err)
			}
			if err := client.write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the closed end writes: %v", err)
			}
		})
	})
}

// Close unblocks a reader and a writer on both ends at once.
func TestHTTPWireCloseUnblocks(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		for _, end := range []string{"client", "agent"} {
			t.Run(end, func(t *testing.T) {
				client, server := wirePair(t, polls)
				w := map[string]wire{"client": client, "agent": server}[end]
				var blocked sync.WaitGroup
				blocked.Go(func() {
					for {
						if _, err := w.read(); err != nil {
							return
						}
					}
				})
				full := make(chan struct{})
				blocked.Go(func() {
					frame, once := make([]byte, maxFrame), sync.OnceFunc(func() { close(full) })
					for i := 0; ; i++ {
						if w.write(frame) != nil {
							once()
							return
						}
						if i == 64 {
							once()
						}
					}
				})
				select {
				case <-full:
				case <-time.After(time.Second): // the writer waits already
				}
				w.close()
				blocked.Wait()
			})
		}
	})
}

// A bubbleWire is an HTTP wire in a synctest bubble, on a network with a delay.
func bubbleWire(t *testing.T, delay time.Duration, polls bool, header func(context.Context) (http.Header, error)) (h *httpServer, client, server wire, posts *atomic.Int32) {
	t.Helper()
	h, wires := wireServer(t)
	n := newDelayNet(delay)
	posts = new(atomic.Int32)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == upPath {
			posts.Add(1)
		}
		h.l.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(n)
	}()
	client, _, err := Endpoint{
		URL: "http://twin.test", Version: testVersion, Header: header,
		Client: &http.Client{Transport: &http.Transport{DialContext: n.dial}},
	}.openHTTP(t.Context(), polls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.close()
		h.l.Close()
		srv.Close()
		<-served
		pass(2 * closeTimeout) // what was written may leave
	})
	if err := client.write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	server = <-wires
	server.read()
	return h, client, server, posts
}

// Uploading on a path of 100 ms is far more than a frame for each round trip.
func TestHTTPWireOnLongPath(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		synctest.Test(t, func(t *testing.T) {
			_, client, server, posts := bubbleWire(t, 50*time.Millisecond, polls, nil)
			const frames = 256 // 16 MiB
			for name, ends := range map[string][2]wire{"up": {client, server}, "down": {server, client}} {
				start := time.Now()
				go func() {
					for range frames {
						ends[0].write(make([]byte, maxPayload))
					}
				}()
				for range frames {
					if _, err := ends[1].read(); err != nil {
						t.Fatal(err)
					}
				}
				took := time.Since(start)
				t.Logf("%s: 16 MiB in %s, %d POSTs", name, took, posts.Load())
				if limit := 8 * time.Second; took > limit {
					t.Errorf("16 MiB %s took %s at a round trip of 100 ms", name, took)
				}
			}
			if n := posts.Load(); n > frames/2 {
				t.Errorf("%d POSTs for %d frames: they are not gathered", n, frames)
			}
			start := time.Now()
			for range 20 { // and a keystroke is one trip, with others under way
				client.write([]byte("k"))
				if _, err := server.read(); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took > 20*110*time.Millisecond {
				t.Errorf("20 keystrokes in turn took %s", took)
			}
		})
	})
}

// request makes one request of a client, by hand.
func request(t *testing.T, h http.Handler, method, path, id, sequence string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	r.Header.Set(VersionHeader, testVersion)
	r.Header.Set(connectionHeader, id)
	r.Header.Set(sequenceHeader, sequence)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const testID = "000102030405060708090a0b0c0d0e0f"

func records(frames ...string) []byte {
	var b []byte
	for _, f := range frames {
		b = appendRecord(b, []byte(f))
	}
	return b
}

// Requests that come twice, in pieces or in another order count once, in order.
func TestHTTPWireRequestsOutOfOrder(t *testing.T) {
	h, wires := wireServer(t)
	for range 2 { // asked again after a lost answer
		if w := request(t, h.l, "POST", openPath, testID, "", nil); w.Code != 200 || w.Header().Get(HostKeyHeader) == "" {
			t.Fatalf("open: %d %v", w.Code, w.Header())
		}
	}
	up := func(sequence string, body io.Reader, want int) {
		t.Helper()
		if w := request(t, h.l, "POST", upPath, testID, sequence, body); w.Code != want {
			t.Errorf("POST %s: %d %s", sequence, w.Code, w.Body)
		}
	}
	zero := records("a", "bc", "def")
	up("1", bytes.NewReader(records("x")), 200)
	up("0", io.MultiReader(bytes.NewReader(zero[:6]), &brokenReader{}), 400) // breaks off after "a" and a bit
	server := <-wires
	readsFrames(t, server, "a")
	up("0", bytes.NewReader(zero), 200)
	up("0", bytes.NewReader(zero), 200)
	up("2", bytes.NewReader(records("y", "")), 200)
	readsFrames(t, server, "bc", "def", "x", "y")
	up("1", bytes.NewReader(records("again")), 200)
	up("3", bytes.NewReader(records("z")), 200)
	readsFrames(t, server, "z")
	if w := request(t, h.l, "POST", openPath, testID, "", nil); w.Code != http.StatusConflict {
		t.Errorf("a connection with frames was opened again: %d", w.Code)
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func readsFrames(t *testing.T, w wire, want ...string) {
	t.Helper()
	for _, f := range want {
		if got, err := w.read(); err != nil || string(got) != f {
			t.Fatalf("read %q, %v, want %q", got, err, f)
		}
	}
}

// A poll that comes again gets the answer it had.
func TestHTTPWirePollsAgain(t *testing.T) {
	h, wires := wireServer(t)
	request(t, h.l, "POST", openPath, testID, "", nil)
	request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(records("a")))
	server := <-wires
	poll := func(sequence string, code int, want string) {
		t.Helper()
		if w := request(t, h.l, "GET", pollPath, testID, sequence, nil); w.Code != code || code == 200 && w.Body.String() != want {
			t.Errorf("poll %s: %d %q, want %d %q", sequence, w.Code, w.Body, code, want)
		}
	}
	for i := range 4 {
		if err := server.write([]byte{byte('0' + i)}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			poll(strconv.Itoa(i), 200, string(records(strconv.Itoa(i))))
		}
	}
	poll("2", 200, string(records("2")))
	poll("0", 400, "")  // long answered
	poll("20", 400, "") // nobody asks so far ahead
	server.close()
	if w := request(t, h.l, "GET", pollPath, testID, "4", nil); w.Code != 200 || w.Header().Get(endHeader) == "" {
		t.Errorf("the poll after the end: %d %v", w.Code, w.Header())
	}
}

func TestHTTPWireBadRequests(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, id, sequence string
		body                             []byte
		code                             int
		ends                             bool
	}{
		{"no id", "POST", openPath, "", "", nil, 400, false},
		{"short id", "POST", openPath, "00ff", "", nil, 400, false},
		{"unknown id", "POST", upPath, strings.Repeat("1", 32), "0", nil, 409, false},
		{"no sequence", "POST", upPath, testID, "", nil, 400, false},
		{"negative sequence", "POST", upPath, testID, "-1", nil, 400, false},
		{"far ahead", "POST", upPath, testID, "100", records("x"), 400, true},
		{"long body", "POST", upPath, testID, "0", append(binary.BigEndian.AppendUint32(nil, maxFrame), make([]byte, maxBody)...), 400, true},
		{"poll without a number", "GET", pollPath, testID, "x", nil, 400, false},
		{"poll far ahead", "GET", pollPath, testID, "9", nil, 400, false},
		{"stream of nobody", "GET", downPath, "x", "", nil, 409, false},
		{"wrong method", "GET", upPath, testID, "0", nil, 405, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := wireServer(t)
			request(t, h.l, "POST", openPath, testID, "", nil)
			w := request(t, h.l, tt.method, tt.path, tt.id, tt.sequence, bytes.NewReader(tt.body))
			if w.Code != tt.code || w.Header().Get(VersionHeader) != testVersion {
				t.Errorf("answer %d %q %v, want %d", w.Code, w.Body, w.Header(), tt.code)
			}
			again := request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(records("x"))).Code
			if ended := again != 200; ended != tt.ends {
				t.Errorf("the connection's next request: %d", again)
			}
		})
	}
}

// Frames that are none end the wire.
func TestHTTPWireBadFrames(t *testing.T) {
	for name, body := range map[string][]byte{
		"too long":  binary.BigEndian.AppendUint32(nil, maxFrame+1),
		"cut short": records("abc")[:5],
	} {
		t.Run(name, func(t *testing.T) {
			h, wires := wireServer(t)
			request(t, h.l, "POST", openPath, testID, "", nil)
			request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(body))
			var protocol *protocolError
			if _, err := (<-wires).read(); !errors.As(err, &protocol) {
				t.Errorf("error = %v, want a protocol error", err)
			}
		})
	}
}

func TestHTTPWireWantsItsOwnVersionAndAccount(t *testing.T) {
	h, _ := wireServer(t)
	token := func(email string) string {
		return "Bearer e30." + strings.TrimRight(base64URL(`{"email":"`+email+`"}`), "=") + ".x"
	}
	for _, tt := range []struct {
		path, version, email string
		refuse, want         int
	}{
		{openPath, "v0", "a@x", 0, http.StatusUpgradeRequired},
		{openPath, testVersion, "a@x", http.StatusGone, http.StatusGone},
		{openPath, testVersion, "a@x", 0, 200},
		{openPath, testVersion, "b@x", 0, http.StatusConflict},
		{upPath, testVersion, "b@x", 0, http.StatusConflict},
		{upPath, "v0", "a@x", 0, http.StatusUpgradeRequired},
		{upPath, testVersion, "a@x", 0, 200},
	} {
		h.l.Refuse(tt.refuse)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, bytes.NewReader(records("x")))
		r.Header.Set(VersionHeader, tt.version)
		r.Header.Set(connectionHeader, testID)
		r.Header.Set(sequenceHeader, "0")
		r.Header.Set("X-Serverless-Authorization", token(tt.email))
		w := httptest.NewRecorder()
		h.l.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s by %s of %s: %d %s", tt.path, tt.email, tt.version, w.Code, w.Body)
		}
	}
}

// Half-open connections are bounded, the newest stay, and all of them go.
func TestHTTPWireHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := wireServer(t)
		id := func(i int) string { return fmt.Sprintf("%032x", i) }
		for i := range 1000 {
			if w := request(t, h.l, "POST", openPath, id(i), "", nil); w.Code != 200 {
				t.Fatalf("connection %d: %d %s", i, w.Code, w.Body)
			}
		}
		synctest.Wait()
		if n := h.count(); n != maxHalfOpen {
			t.Errorf("%d half-open connections, want %d", n, maxHalfOpen)
		}
		if w := request(t, h.l, "POST", upPath, id(999), "0", bytes.NewReader(records("x"))); w.Code != 200 {
			t.Errorf("the last one: %d %s", w.Code, w.Body)
		}
		if w := request(t, h.l, "POST", upPath, id(0), "0", bytes.NewReader(records("x"))); w.Code != http.StatusConflict {
			t.Errorf("the first one: %d %s", w.Code, w.Body)
		}
		pass(connectionGone + lingerTime + time.Second)
		synctest.Wait()
		if n := h.count(); n != 0 {
			t.Errorf("%d connections are left of clients that went away", n)
		}
	})
}

func (h *httpServer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// The agent finds out that a client is gone: by its stream's end at once, by
// silence else.
func TestHTTPWireClientGone(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		synctest.Test(t, func(t *testing.T) {
			h, client, server, _ := bubbleWire(t, time.Millisecond, polls, nil)
			start := time.Now()
			client.close()
			if _, err := server.read(); err == nil {
				t.Error("a frame of nobody")
			}
			limit := time.Second
			if polls {
				limit = connectionGone + pollTime
			}
			if took := time.Since(start); took > limit {
				t.Errorf("it took %s", took)
			}
			pass(lingerTime + time.Second)
			if n := h.count(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	})
}

// An idle wire lives on, and every request has a header that is not old.
func TestHTTPWireIdle(t *testing.T) {
	modes(t, func(t *testing.T, polls bool) {
		synctest.Test(t, func(t *testing.T) {
			var made []time.Time
			_, client, server, _ := bubbleWire(t, time.Millisecond, polls, func(context.Context) (http.Header, error) {
				made = append(made, time.Now())
				return http.Header{}, nil
			})
			go func() {
				for {
					frame, err := server.read()
					if err != nil || server.write(frame) != nil {
						return
					}
				}
			}()
			echoes := make(chan error, 1)
			go func() {
				for {
					frame, err := client.read()
					if err == nil && string(frame) != "ping" {
						err = fmt.Errorf("read %q", frame)
					}
					if echoes <- err; err != nil {
						return
					}
				}
			}()
			for range 5 {
				pass(10 * time.Minute)
				if err := client.write([]byte("ping")); err != nil {
					t.Fatal(err)
				}
				if err := <-echoes; err != nil {
					t.Fatal(err)
				}
			}
			if len(made) < 5 {
				t.Errorf("headers were made at %v", made)
			}
		})
	})
}

// A delayNet is a network in memory on which everything takes a while, and
// which holds as much as there is to hold.
type delayNet struct {
	delay time.Duration
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newDelayNet(delay time.Duration) *delayNet {
	return &delayNet{delay: delay, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (n *delayNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *delayNet) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

func (n *delayNet) Addr() net.Addr { return addr("memory") }

func (n *delayNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	pass(2 * n.delay) // SYN and its answer
	a, b := newDelayPipe(n.delay)
	select {
	case n.conns <- b:
		return a, nil
	case <-n.done:
		return nil, errors.New("network closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func base64URL(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }

// pipeRoom is how much a direction of a delayPipe holds.
const pipeRoom = 4 << 20

// newDelayPipe is a connection in memory with buffers and deadlines, as TCP has.
func newDelayPipe(delay time.Duration) (a, b *pipeEnd) {
	up, down := newPipeHalf(delay), newPipeHalf(delay)
	return &pipeEnd{in: down, out: up}, &pipeEnd{in: up, out: down}
}

type pipeEnd struct {
	in, out *pipeHalf
}

func (e *pipeEnd) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *pipeEnd) Write(p []byte) (int, error) { return e.out.write(p) }

func (e *pipeEnd) Close() error {
	e.in.cut(net.ErrClosed)
	e.out.finish()
	return nil
}

func (e *pipeEnd) LocalAddr() net.Addr  { return addr("memory") }
func (e *pipeEnd) RemoteAddr() net.Addr { return addr("memory") }

func (e *pipeEnd) SetDeadline(t time.Time) error {
	e.in.setDeadline(&e.in.readBy, t)
	e.out.setDeadline(&e.out.writeBy, t)
	return nil
}

func (e *pipeEnd) SetReadDeadline(t time.Time) error {
	e.in.setDeadline(&e.in.readBy, t)
	return nil
}

func (e *pipeEnd) SetWriteDeadline(t time.Time) error {
	e.out.setDeadline(&e.out.writeBy, t)
	return nil
}

// A pipeHalf is one direction.
type pipeHalf struct {
	delay time.Duration
	// after is how many bytes pass before snap is called instead; negative: no end.
	after int
	snap  func()

	mu       sync.Mutex
	changed  *sync.Cond
	parcels  []parcel
	size     int
	finished bool  // the writer has closed
	hole     bool  // nothing arrives any more, not even the end
	err      error // what reads and writes give at once
	readBy   time.Time
	writeBy  time.Time
}

type parcel struct {
	at   time.Time
	data []byte
}

func newPipeHalf(delay time.Duration) *pipeHalf {
	h := &pipeHalf{delay: delay, after: -1}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *pipeHalf) setDeadline(which *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = t
	h.changed.Broadcast()
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		h.wakeIn(wait)
	}
}

func (h *pipeHalf) wakeIn(wait time.Duration) {
	time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changed.Broadcast()
	})
}

func late(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

func (h *pipeHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.err != nil:
			return 0, h.err
		case late(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(h.parcels) == 0 && h.finished:
			return 0, io.EOF
		case len(h.parcels) == 0:
		case h.delay > 0 && time.Until(h.parcels[0].at) > 0:
			h.wakeIn(time.Until(h.parcels[0].at))
		default:
			first := &h.parcels[0]
			n := copy(p, first.data)
			first.data = first.data[n:]
			if len(first.data) == 0 {
				h.parcels = h.parcels[1:]
			}
			h.size -= n
			h.changed.Broadcast()
			return n, nil
		}
		h.changed.Wait()
	}
}

func (h *pipeHalf) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.err == nil && !h.finished && h.size+len(p) > pipeRoom {
		if late(h.writeBy) {
			return 0, os.ErrDeadlineExceeded
		}
		h.changed.Wait()
	}
	switch {
	case h.err != nil:
		return 0, h.err
	case h.finished:
		return 0, net.ErrClosed
	case h.hole:
		return len(p), nil
	}
	n := len(p)
	if h.after >= 0 && n > h.after {
		n = h.after
	}
	if n > 0 {
		h.parcels = append(h.parcels, parcel{time.Now().Add(h.delay), bytes.Clone(p[:n])})
		h.size += n
		h.changed.Broadcast()
	}
	if h.after >= 0 {
		if h.after -= n; n < len(p) {
			h.mu.Unlock()
			h.snap()
			h.mu.Lock()
			return n, syscall.ECONNRESET
		}
	}
	return n, nil
}

// finish ends the direction after what was written.
func (h *pipeHalf) finish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finished = !h.hole
	h.changed.Broadcast()
}

// cut ends it at once.
func (h *pipeHalf) cut(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.parcels, h.size = nil, 0
	h.changed.Broadcast()
}
