package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// A recorder keeps what an Endpoint's Observe is told.
type recorder struct {
	mu     sync.Mutex
	states []State
}

func (r *recorder) observe(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, s)
}

func (r *recorder) phases() []Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	var phases []Phase
	for _, s := range r.states {
		if n := len(phases); n == 0 || phases[n-1] != s.Phase {
			phases = append(phases, s.Phase)
		}
	}
	return phases
}

// A wire that is silent is raced against a second one, which wins.
func TestSuspectIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		var seen recorder
		e.Observe = seen.observe
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		synctest.Wait()
		gate := n.shut()
		defer gate.reopen()
		began := time.Now()
		go client.Write([]byte("x"))
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != suspectAfter {
			t.Errorf("the echo came after %s, want %s", took, suspectAfter)
		}
		synctest.Wait()
		if got, want := seen.phases(), []Phase{Connected, Suspect, Connected}; !equal(got, want) {
			t.Errorf("phases %v, want %v", got, want)
		}
	})
}

// A wire that comes back to life while a second one is dialled is kept.
func TestSuspectComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		var dials atomic.Int32
		e.Header = func(context.Context) (http.Header, error) {
			if dials.Add(1) > 1 {
				pass(time.Second)
			}
			return nil, nil
		}
		var seen recorder
		e.Observe = seen.observe
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		synctest.Wait()
		gate := n.shut()
		go client.Write([]byte("x"))
		pass(suspectAfter + time.Second/2)
		gate.reopen()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		if stats := client.Stats(); stats.Wires != 1 || dials.Load() < 2 {
			t.Errorf("%d dials, %+v", dials.Load(), stats)
		}
		if got, want := seen.phases(), []Phase{Connected, Suspect, Connected}; !equal(got, want) {
			t.Errorf("phases %v, want %v", got, want)
		}
	})
}

// After a sleep the wire is looked after at once, whatever the monotonic clock
// says.
func TestClockJump(t *testing.T) {
	for name, tt := range map[string]struct {
		jump time.Duration
		most time.Duration // until another wire is in use
	}{
		"short sleep":  {10 * time.Second, tick + alarmed},
		"long sleep":   {8 * time.Hour, tick},
		"set forwards": {time.Minute, tick},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, l, e := network(t)
				var jump atomic.Int64
				e.wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())).Round(0) }
				client, _ := pair(t, l, e)
				pass(tick / 2)
				gate := n.shut()
				defer gate.reopen()
				jump.Store(int64(tt.jump))
				pass(tt.most)
				synctest.Wait()
				if stats := client.Stats(); stats.Wires != 2 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a healthy wire survives any clock
		_, l, e := network(t)
		var jump atomic.Int64
		e.wall = func() time.Time { return time.Now().Add(time.Duration(jump.Load())).Round(0) }
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		for _, d := range []time.Duration{10 * time.Second, 0, -time.Hour, -time.Hour + 10*time.Second} {
			jump.Store(int64(d))
			pass(time.Minute)
		}
		if stats := client.Stats(); stats.Wires != 1 {
			t.Errorf("%+v", stats)
		}
		// After what looks like a long sleep it races another one, and either
		// may win.
		jump.Store(int64(time.Hour))
		pass(time.Minute)
		go client.Write([]byte("x"))
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if stats := client.Stats(); stats.Wires > 2 {
			t.Errorf("%+v", stats)
		}
	})
}

// A change of the network is reason enough to ask, and to dial soon.
func TestNetworkChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		client, _ := pair(t, l, e)
		pass(time.Second)
		client.keeper.networkChanged()
		pass(time.Minute)
		if stats := client.Stats(); stats.Wires != 1 {
			t.Errorf("a healthy wire was replaced: %+v", stats)
		}
		gate := n.shut()
		defer gate.reopen()
		client.keeper.networkChanged()
		pass(alarmed)
		synctest.Wait()
		if stats := client.Stats(); stats.Wires != 2 {
			t.Errorf("a dead wire was not replaced: %+v", stats)
		}
	})
}

// A key ends the wait between two attempts.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		var seen recorder
		e.Observe = seen.observe
		client, _ := pair(t, l, e)
		client.Probe()
		synctest.Wait()
		l.Refuse(503)
		n.sever()
		for next := (time.Time{}); time.Until(next) < time.Second; { // into a long wait
			pass(10 * time.Millisecond)
			seen.mu.Lock()
			next = seen.states[len(seen.states)-1].Next
			seen.mu.Unlock()
		}
		l.Refuse(0)
		synctest.Wait()
		if _, lost := client.Detached(); !lost {
			t.Fatal("not lost")
		}
		client.Probe()
		synctest.Wait()
		if _, lost := client.Detached(); lost {
			t.Error("still lost")
		}
	})
}

// The agent gives up a silent wire, not the stream.
func TestAgentDetaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		_, server := pair(t, l, e)
		pass(time.Second)
		n.lost.Store(true)
		pass(serverDead - pingInterval)
		if _, ok := server.(*Conn).Detached(); ok {
			t.Error("detached too soon")
		}
		pass(pingInterval + time.Second)
		if since, ok := server.(*Conn).Detached(); !ok || time.Since(since) > pingInterval+time.Second {
			t.Errorf("detached since %v, %v", since, ok)
		}
	})
}

// Upgrades without an attach cost little and not for long.
func TestHalfOpenUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		var open []*websocket.Conn
		for range 1000 {
			ws, _, err := websocket.Dial(t.Context(), e.URL+StreamPath, &websocket.DialOptions{
				HTTPClient: e.Client, Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{VersionHeader: {testVersion}},
			})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, ws)
		}
		pair(t, l, e) // there is room
		began := time.Now()
		for _, ws := range open {
			if _, _, err := ws.Read(t.Context()); err == nil {
				t.Fatal("an answer without a question")
			}
			ws.CloseNow()
		}
		if took := time.Since(began); took > handshakeTimeout {
			t.Errorf("they were kept for %s", took)
		}
		if got := len(l.streams.all()); got != 1 {
			t.Errorf("%d streams", got)
		}
	})
}

// Shutdown lets clients take the last output, and tells those it cannot wait
// for why the stream ends.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		client, server := pair(t, l, e)
		server.Write(make([]byte, 100<<10))
		began := time.Now()
		go func() {
			pass(time.Second)
			io.ReadFull(client, make([]byte, 100<<10))
		}()
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < time.Second || took > time.Second+ackDelay {
			t.Errorf("it took %s", took)
		}
		var status *StatusError
		if _, err := Dial(t.Context(), e); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
			t.Errorf("dialling after it: %v", err)
		}
		n.sever() // the instance is gone
		var final *FinalError
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != Stopped {
			t.Errorf("after the end: %v", err)
		}
	})
}

// MaxStreams bounds the streams, lost ones included.
func TestMaxStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		l.streams.most = 2
		_, first := pair(t, l, e)
		pair(t, l, e)
		var status *StatusError
		if _, err := Dial(t.Context(), e); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
			t.Errorf("the third: %v", err)
		}
		first.Close()
		pair(t, l, e)
	})
}
