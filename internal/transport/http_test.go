package transport

import (
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
	"sync"
	"sync/atomic"
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
	client, peer, err := Endpoint{URL: srv.URL, Version: testVersion, filler: time.Minute}.openHTTP(t.Context(), polls)
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

// modes are the two ways in which frames go down.
func modes() map[string]bool { return map[string]bool{"stream": false, "polls": true} }

// Frames of all sizes arrive whole and in order, both ways at once.
func TestHTTPWire(t *testing.T) {
	for name, polls := range modes() {
		t.Run(name, func(t *testing.T) {
			client, server := wirePair(t, polls)
			var ends sync.WaitGroup
			for i, pair := range [][2]wire{{client, server}, {server, client}} {
				ends.Go(func() { writeFrames(t, pair[0], uint64(i), 2000) })
				ends.Go(func() { readFrames(t, pair[1], uint64(i), 2000) })
			}
			ends.Wait()
		})
	}
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
	for name, polls := range modes() {
		t.Run(name+", agent", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client, server, _ := bubbleWire(t, 0, polls, nil)
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
				closedWire(t, server)
			})
		})
		t.Run(name+", client", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client, server, _ := bubbleWire(t, 0, polls, nil)
				if err := client.write([]byte("farewell")); err != nil {
					t.Fatal(err)
				}
				client.close()
				if got, err := server.read(); err == nil && string(got) != "farewell" {
					t.Errorf("read %q, %v", got, err)
				}
				closedWire(t, client)
			})
		})
	}
}

// closedWire checks that the end that was closed says so.
func closedWire(t *testing.T, w wire) {
	t.Helper()
	if _, err := w.read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the closed end reads %v", err)
	}
	if err := w.write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the closed end writes: %v", err)
	}
}

// Close unblocks a reader and a writer on both ends at once.
func TestHTTPWireCloseUnblocks(t *testing.T) {
	for name, polls := range modes() {
		t.Run(name, func(t *testing.T) {
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
	for name, polls := range modes() {
		t.Run(name, func(t *testing.T) {
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
}

// The agent finds out that a client is gone: by its stream's end at once, by
// silence else.
func TestHTTPWireClientGone(t *testing.T) {
	for name, polls := range modes() {
		t.Run(name, func(t *testing.T) {
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
}

// An idle wire lives on, and every request has a header that is not old.
func TestHTTPWireIdle(t *testing.T) {
	for name, polls := range modes() {
		t.Run(name, func(t *testing.T) {
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
}
