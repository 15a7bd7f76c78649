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
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The soak cuts a stream's wires at random bytes, in both directions and in the
// handshakes, while both ends write and read pieces of random sizes, and checks
// each byte at its position. Each seed is a network, a stream and soakCuts cuts
// of its own, in a synctest bubble: outages of minutes take no time.
//
//	CLOUDSSH_SOAK=1           a million cuts instead of ten thousand
//	CLOUDSSH_SOAK_SEED=17     only this seed, of all kinds
const soakCuts = 100

// A soakNet is a network that cuts its connections.
type soakNet struct {
	*delayNet
	cuts  atomic.Int64 // so far
	limit int64        // after which it cuts no more
	calm  atomic.Bool  // it cuts none in the handshake

	mu  sync.Mutex
	rnd *rand.Rand
}

// lengths are how much a connection carries before it is cut: some within the
// handshake, most within the first frames, a few later.
func (n *soakNet) length() int {
	switch p := n.rnd.IntN(10); {
	case p < 3:
		return n.rnd.IntN(700)
	case p < 8:
		return n.rnd.IntN(6 << 10)
	}
	return n.rnd.IntN(100 << 10)
}

func (n *soakNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := newDelayPipe(0)
	if n.cuts.Load() < n.limit {
		half := a.out
		if n.rnd.IntN(2) == 0 {
			half = b.out
		}
		half.after, half.snap = n.length(), n.snap(a, b, n.rnd.IntN(10))
		if n.calm.Load() { // the first ones get through the handshake
			half.after += 4 << 10
		}
	}
	select {
	case n.conns <- b:
		return a, nil
	case <-n.done:
		return nil, errors.New("network closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// snap cuts a connection: most are gone at once with all that was under way,
// some end after it, and now and then nothing at all is heard any more.
func (n *soakNet) snap(a, b *pipeEnd, how int) func() {
	return func() {
		n.cuts.Add(1)
		for _, half := range []*pipeHalf{a.in, a.out} {
			switch {
			case how == 0:
				half.swallow()
			case how < 4:
				half.finish()
			default:
				half.cut(syscall.ECONNRESET)
			}
		}
	}
}

// swallow makes a direction a black hole.
func (h *pipeHalf) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hole = true
	h.parcels, h.size = nil, 0
	h.changed.Broadcast()
}

// soakText is what both directions carry, again and again. Its length has
// nothing in common with those of frames and buffers.
var soakText = func() []byte {
	text := make([]byte, 65537)
	rand.NewChaCha8([32]byte{1}).Read(text)
	return append(text, text...)
}()

const soakPeriod = 65537

// soakSize is mostly small, as SSH's writes are, and now and then larger than a
// frame.
func soakSize(rnd *rand.Rand) int {
	if rnd.IntN(20) == 0 {
		return 1 + rnd.IntN(soakPeriod)
	}
	return 1 + rnd.IntN(1<<rnd.IntN(12))
}

// soakWrite writes pieces until it is told to stop, and then ends the stream.
func soakWrite(c *Conn, rnd *rand.Rand, stop *atomic.Bool) (written int, err error) {
	for !stop.Load() {
		p := written % soakPeriod
		n, err := c.Write(soakText[p : p+soakSize(rnd)])
		written += n
		if err != nil {
			return written, fmt.Errorf("writing at %d: %w", written, err)
		}
		if rnd.IntN(6) == 0 {
			pass(time.Duration(rnd.IntN(300)) * time.Millisecond)
		}
	}
	return written, c.CloseWrite()
}

// soakRead checks all that comes.
func soakRead(c *Conn, rnd *rand.Rand) (read int, err error) {
	buf := make([]byte, soakPeriod)
	for {
		n, err := c.Read(buf[:1+rnd.IntN(1<<rnd.IntN(17))])
		if p := read % soakPeriod; !bytes.Equal(buf[:n], soakText[p:p+n]) {
			return read, fmt.Errorf("%d bytes at %d are not what was sent", n, read)
		}
		read += n
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, fmt.Errorf("reading at %d: %w", read, err)
		}
		if rnd.IntN(10) == 0 {
			pass(time.Duration(rnd.IntN(300)) * time.Millisecond)
		}
	}
}

// soakTally is what a soak did.
type soakTally struct {
	cuts, bytes, resent, wires, resumes atomic.Int64
}

// soakStream keeps a stream busy both ways until there have been enough cuts.
func soakStream(t *testing.T, client, server *Conn, rnd *rand.Rand, enough func() bool, tally *soakTally) {
	t.Helper()
	type result struct {
		n   int
		err error
	}
	var stop atomic.Bool
	var written, read [2]chan result
	for i, pair := range [][2]*Conn{{client, server}, {server, client}} {
		written[i], read[i] = make(chan result, 1), make(chan result, 1)
		writes, reads := rand.New(rand.NewPCG(rnd.Uint64(), 1)), rand.New(rand.NewPCG(rnd.Uint64(), 2))
		go func() {
			n, err := soakWrite(pair[0], writes, &stop)
			written[i] <- result{n, err}
		}()
		go func() {
			n, err := soakRead(pair[1], reads)
			read[i] <- result{n, err}
			if err != nil { // the writer must not wait for it
				pair[1].Abort()
			}
		}()
	}
	for deadline := time.Now().Add(48 * time.Hour); !enough() && time.Now().Before(deadline) && !over(client); {
		pass(time.Second)
		switch rnd.IntN(20) {
		case 0:
			client.Probe()
		case 1:
			client.keeper.networkChanged()
		}
	}
	stop.Store(true)
	for i := range 2 {
		w, r := <-written[i], <-read[i]
		if err := errors.Join(w.err, r.err); err != nil {
			t.Errorf("direction %d: %v", i, err)
		} else if w.n != r.n {
			t.Errorf("direction %d: wrote %d bytes, read %d", i, w.n, r.n)
		}
		tally.bytes.Add(int64(r.n))
	}
	stats := client.Stats()
	tally.wires.Add(int64(stats.Wires))
	tally.resumes.Add(int64(stats.Resumes))
	tally.resent.Add(int64(stats.Resent))
	// The last acknowledgement may be what was cut, so an error is no wonder.
	closeBoth(client, server)
}

func over(c *Conn) bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// soakEndpoint has windows small and large, and now and then a platform that
// cuts requests.
func soakEndpoint(rnd *rand.Rand) (ListenerConfig, Endpoint) {
	cfg := testConfig()
	cfg.window = []int{0, minWindow, 200 << 10, 1 << 20}[rnd.IntN(4)]
	cfg.RequestTimeout = []time.Duration{0, 0, 20 * time.Second, time.Hour}[rnd.IntN(4)]
	e := Endpoint{URL: "http://twin.test", Version: testVersion}
	e.window = []int{0, minWindow, 200 << 10, 1 << 20}[rnd.IntN(4)]
	return cfg, e
}

// soakHTTP soaks the wires that there are, in a real HTTP server and client.
func soakHTTP(t *testing.T, seed uint64, kind Wire, tally *soakTally) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, uint64(kind)))
	n := &soakNet{delayNet: newDelayNet(0), limit: soakCuts, rnd: rand.New(rand.NewPCG(seed, 100))}
	cfg, e := soakEndpoint(rnd)
	e.Wire = kind
	e.Client = &http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: kind == WireWebSocket}}
	l := NewListener(cfg)
	srv := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(n)
	}()
	defer func() {
		l.Close()
		srv.Close()
		<-served
		pass(time.Hour) // what still waits for its time-out
	}()
	n.calm.Store(true)
	client, server := soakDial(t, l, e)
	if client == nil {
		return
	}
	n.calm.Store(false)
	soakStream(t, client, server, rnd, func() bool { return n.cuts.Load() >= n.limit }, tally)
	tally.cuts.Add(n.cuts.Load())
}

func soakDial(t *testing.T, l *Listener, e Endpoint) (client, server *Conn) {
	t.Helper()
	client, err := Dial(t.Context(), e)
	if err != nil {
		t.Errorf("dialling: %v", err)
		return nil, nil
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Errorf("accepting: %v", err)
		return nil, nil
	}
	return client, accepted.(*Conn)
}

// soakBare soaks the stream alone: its frames go through memory.
func soakBare(t *testing.T, seed uint64, tally *soakTally) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 50))
	cfg, e := soakEndpoint(rnd)
	l := NewListener(cfg)
	var cuts atomic.Int64
	var mu sync.Mutex
	dials := rand.New(rand.NewPCG(seed, 51))
	calm := true
	e.Client = &http.Client{} // not used
	request := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, StreamPath, nil)
	e.opener = func(context.Context) (wire, Peer, error) {
		mu.Lock()
		defer mu.Unlock()
		a, b := newFrameWires()
		if cuts.Load() < soakCuts {
			frames := dials.IntN(1 << dials.IntN(6))
			if calm {
				frames += 10
			}
			if frames == 0 {
				cuts.Add(1)
				return nil, Peer{}, syscall.ECONNRESET
			}
			deaf, quiet, lossy := dials.IntN(2) == 0, dials.IntN(10) == 0, dials.IntN(3) > 0
			which := a
			if deaf {
				which = b
			}
			which.after, which.snap = frames, func() {
				cuts.Add(1)
				if quiet || lossy {
					a.swallow(quiet)
					b.swallow(quiet)
				}
				if quiet {
					return
				}
				a.close()
				b.close()
			}
		}
		go l.serveWire(b, request)
		return a, Peer{Version: cfg.Version, Instance: cfg.Instance, HostKey: cfg.HostKey}, nil
	}
	defer func() {
		l.Close()
		pass(time.Hour)
	}()
	client, server := soakDial(t, l, e)
	if client == nil {
		return
	}
	mu.Lock()
	calm = false
	mu.Unlock()
	soakStream(t, client, server, rnd, func() bool { return cuts.Load() >= soakCuts }, tally)
	tally.cuts.Add(cuts.Load())
}

// soakKinds are what is soaked, with the share of the cuts that each gets.
func soakKinds() []struct {
	name  string
	share int
	run   func(*testing.T, uint64, *soakTally)
} {
	return []struct {
		name  string
		share int
		run   func(*testing.T, uint64, *soakTally)
	}{
		{"bare", 68, soakBare},
		{"websocket", 22, func(t *testing.T, seed uint64, tally *soakTally) {
			t.Helper()
			soakHTTP(t, seed, WireWebSocket, tally)
		}},
		{"http", 6, func(t *testing.T, seed uint64, tally *soakTally) {
			t.Helper()
			soakHTTP(t, seed, WireHTTP, tally)
		}},
		{"auto", 4, func(t *testing.T, seed uint64, tally *soakTally) {
			t.Helper()
			soakHTTP(t, seed, WireAuto, tally)
		}},
	}
}

func TestSoak(t *testing.T) {
	seeds := 10_000 / soakCuts
	long := os.Getenv("CLOUDSSH_SOAK") != ""
	if long {
		seeds = 1_000_000 / soakCuts
	}
	only, err := strconv.ParseUint(os.Getenv("CLOUDSSH_SOAK_SEED"), 10, 64)
	for _, kind := range soakKinds() {
		t.Run(kind.name, func(t *testing.T) {
			if err == nil {
				soakSeed(t, only, kind.run, &soakTally{})
				return
			}
			soakSeeds(t, seeds*kind.share/100, long, kind.run)
		})
	}
}

// soakSeeds soaks one kind with as many seeds, two at a time.
func soakSeeds(t *testing.T, seeds int, long bool, run func(*testing.T, uint64, *soakTally)) {
	t.Helper()
	start := time.Now()
	var tally soakTally
	report := func(done int) {
		t.Logf("%d seeds, %d cuts, %d wires attached, %d resumptions, %d MB delivered, %d MB sent again, %s", done,
			tally.cuts.Load(), tally.wires.Load(), tally.resumes.Load(), tally.bytes.Load()/1e6, tally.resent.Load()/1e6,
			time.Since(start).Round(time.Millisecond))
	}
	const batch = 2
	for seed := 0; seed < seeds && !t.Failed(); seed += batch {
		t.Run("", func(t *testing.T) {
			for i := range batch {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					soakSeed(t, uint64(seed+i), run, &tally)
				})
			}
		})
		if long && seed%200 == 0 {
			report(seed + batch)
		}
	}
	report(seeds)
}

func soakSeed(t *testing.T, seed uint64, run func(*testing.T, uint64, *soakTally), tally *soakTally) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, seed, tally) })
	if t.Failed() {
		t.Logf("to run it again: CLOUDSSH_SOAK_SEED=%d go test -run '%s' ./internal/transport", seed, "TestSoak")
	}
}
