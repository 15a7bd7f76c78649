package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// both sends total random bytes each way and waits until all have arrived.
func both(t *testing.T, client, server net.Conn, total int) {
	t.Helper()
	var ends sync.WaitGroup
	for i, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		sent := make(chan [32]byte, 1)
		go func() { sent <- writeRandom(t, pair[0], total, uint64(i)) }()
		ends.Go(func() {
			if got := readRandom(t, pair[1], total, uint64(i)); got != <-sent {
				t.Errorf("direction %d: what arrived is not what was sent", i)
			}
		})
	}
	ends.Wait()
}

// A stream whose wires are cut all the time delivers every byte once.
func TestCutsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, server := bubble(t)
		n.cutEvery(50 << 10)
		for range 4 {
			both(t, client, server, 1<<20)
		}
		n.cutEvery(0)
		if stats := client.Stats(); stats.Resumes < 20 || stats.Resent == 0 {
			t.Errorf("%+v: the test tests little", stats)
		}
	})
}

// A black hole of 25 seconds costs 25 seconds.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		states := make(chan State, 100)
		e.Observe = func(s State) { states <- s }
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		n.lost.Store(true)
		lost := time.Now()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		pass(25 * time.Second)
		n.heal()
		healed := time.Now()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(healed); took > resumePace {
			t.Errorf("the echo came %s after the network", took)
		}
		synctest.Wait()
		var phases []Phase
		for range len(states) {
			s := <-states
			if len(phases) == 0 || phases[len(phases)-1] != s.Phase {
				phases = append(phases, s.Phase)
			}
			switch s.Phase {
			case Suspect:
				if s.Since.After(lost) {
					t.Errorf("something was heard after the loss: %+v", s)
				}
			case Connected:
				if s.Resumed != (len(phases) > 1) {
					t.Errorf("state %+v", s)
				}
			case Lost:
				if s.Err == nil {
					t.Errorf("state %+v has no error", s)
				}
			}
		}
		if want := []Phase{Connected, Suspect, Lost, Connected}; !equal(phases, want) {
			t.Errorf("phases %v, want %v", phases, want)
		}
	})
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// The client moves to another wire before the platform cuts the one it has: no
// wire is ever seen cut, and nobody hears of a loss.
func TestRollover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		l.cfg.RequestTimeout = time.Hour
		e.Observe = func(s State) {
			if s.Phase != Connected && s.Phase != Closed {
				t.Errorf("state %+v", s)
			}
		}
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		n.lifetime(time.Hour)
		for range 24 * 60 {
			pass(time.Minute)
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if got := client.Stats().Wires; got < 25 || got > 29 {
			t.Errorf("%d wires in a day of hours", got)
		}
		if n.cuts.Load() != 0 {
			t.Errorf("%d wires lived for too long", n.cuts.Load())
		}
		if peer := client.Peer(); peer.RequestTimeout != time.Hour || peer.Keep != defaultKeep {
			t.Errorf("peer = %+v", peer)
		}
	})
}

// A lifetime that nobody told of is learned from two cuts.
func TestLearnedLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		n.lifetime(5 * time.Minute)
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		for range 60 {
			pass(time.Minute)
			client.Write([]byte("x"))
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if got := n.cuts.Load(); got != 2 {
			t.Errorf("%d cuts, want 2 to learn from", got)
		}
		if got := client.Stats().Wires; got < 12 || got > 16 {
			t.Errorf("%d wires", got)
		}
	})
}

// A stream that is lost for less than the keep time is there; then it is over at
// both ends.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, e := network(t)
		const keep = 90 * time.Minute
		l.cfg.Keep, l.streams.keep = keep, keep
		client, server := pair(t, l, e)
		n.lost.Store(true)
		server.Write([]byte("x"))
		pass(time.Hour)
		if since, ok := server.(*Conn).Detached(); !ok || time.Since(since) > time.Hour || time.Since(since) < 59*time.Minute {
			t.Errorf("detached since %v, %v", since, ok)
		}
		pass(20 * time.Minute)
		n.heal()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatalf("after 80 minutes: %v", err)
		}
		if _, ok := server.(*Conn).Detached(); ok {
			t.Error("the stream that came back is detached")
		}
		n.lost.Store(true)
		client.Write([]byte("x"))
		start := time.Now()
		var broken *BrokenError
		if _, err := io.ReadFull(server, make([]byte, 2)); !errors.As(err, &broken) {
			t.Errorf("the server read: %v", err)
		}
		if took := time.Since(start); took < keep || took > keep+time.Minute {
			t.Errorf("it was kept for %s", took)
		}
		var final *FinalError
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != Expired {
			t.Errorf("the client read: %v", err)
		}
		if len(l.streams.all()) != 0 {
			t.Error("the registry still has it")
		}
	})
}

// Half of a stream may end before the other.
func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, server := bubble(t)
		client.Write([]byte("question"))
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		n.sever()
		got, err := io.ReadAll(server)
		if string(got) != "question" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		answer := bytes.Repeat([]byte("answer"), 100000)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			server.Write(answer[:1000])
			n.sever()
			server.Write(answer[1000:])
			server.Close()
		}()
		if got, err := io.ReadAll(client); !bytes.Equal(got, answer) || err != nil {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		<-closed
	})
}

// Close of a stream that is lost for a moment delivers all the same.
func TestCloseWhileLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, server := bubble(t)
		n.sever()
		client.Write([]byte("last words"))
		closed := make(chan error, 1)
		go func() { closed <- client.Close() }()
		if got, err := io.ReadAll(server); string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		if err := client.Abort(); err != nil {
			t.Error(err)
		}
		var final *FinalError
		if _, err := server.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != Reset {
			t.Errorf("the other end read: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Abort: %v", err)
		}
	})
}

// What no attempt can mend is final, in its own words.
func TestFinal(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(l *Listener, c *Conn)
		want Reason
	}{
		"another instance": {func(l *Listener, _ *Conn) { l.cfg.Instance = "bad" }, OtherInstance},
		"another key":      {func(l *Listener, _ *Conn) { l.cfg.HostKey = "ssh-ed25519 BBBB" }, OtherInstance},
		"another version":  {func(l *Listener, _ *Conn) { l.cfg.Version = "v9" }, Version},
		"being deleted":    {func(l *Listener, _ *Conn) { l.Refuse(http.StatusGone) }, Gone},
		"deleted":          {func(l *Listener, _ *Conn) { l.Refuse(http.StatusNotFound) }, Gone},
		"locked out":       {func(l *Listener, _ *Conn) { l.Refuse(http.StatusForbidden) }, Refused},
		"unknown": {func(l *Listener, _ *Conn) {
			l.streams.mu.Lock()
			clear(l.streams.tenants)
			l.streams.mu.Unlock()
		}, UnknownStream},
		"no proof": {func(_ *Listener, c *Conn) { c.keeper.key[0]++ }, BadProof},
		"resumed elsewhere": {func(l *Listener, _ *Conn) {
			for _, t := range l.streams.all() {
				t.epoch = 1000
			}
		}, StaleEpoch},
		"impossible position": {func(_ *Listener, c *Conn) { c.in.base, c.in.end = 1<<20, 1<<20 }, OutOfRange},
		"position ahead": {func(l *Listener, _ *Conn) {
			for _, t := range l.streams.all() {
				t.stream.in.base, t.stream.in.end = 1<<20, 1<<20
			}
		}, OutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, l, e := network(t)
				var closed State
				e.Observe = func(s State) { closed = s }
				client, _ := pair(t, l, e)
				synctest.Wait()
				client.mu.Lock()
				tt.do(l, client)
				client.mu.Unlock()
				n.sever()
				_, err := client.Read(make([]byte, 1))
				var final *FinalError
				if !errors.As(err, &final) || final.Reason != tt.want {
					t.Errorf("error = %v, want reason %d", err, tt.want)
				}
				synctest.Wait()
				if closed.Phase != Closed || !errors.Is(closed.Err, err) {
					t.Errorf("last state = %+v", closed)
				}
				if _, err := client.Write([]byte("x")); !errors.As(err, &final) {
					t.Errorf("Write: %v", err)
				}
			})
		})
	}
}

// Trouble that passes is waited out.
func TestPassingTrouble(t *testing.T) {
	for _, code := range []int{401, 403, 429, 500, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			n, l, e := network(t)
			client, server := pair(t, l, e)
			synctest.Wait()
			l.Refuse(code)
			n.sever()
			pass(4 * time.Minute)
			l.Refuse(0)
			go server.Write([]byte("x"))
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Errorf("after %d: %v", code, err)
			}
		})
	}
}

// The newest client with the key has the stream; the one before is told.
func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		client, server := pair(t, l, e)
		synctest.Wait()
		thief := newKeeper(e, newStream(addr("client"), addr("agent")))
		thief.id, thief.key, thief.peer, thief.epoch = client.keeper.id, client.keeper.key, client.peer, 7
		w, peer, err := thief.wires.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := thief.resume(t.Context(), w, peer, time.Now()); err != nil {
			t.Fatal(err)
		}
		var final *FinalError
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != StaleEpoch {
			t.Errorf("the first client read: %v", err)
		}
		go server.Write([]byte("x"))
		if _, err := thief.s.Read(make([]byte, 1)); err != nil {
			t.Errorf("the second client read: %v", err)
		}
		thief.s.Abort()
		thief.rollover.Stop()
	})
}
