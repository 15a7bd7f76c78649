package transport

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestNetConn(t *testing.T) {
	for name, secure := range map[string]bool{"ws": false, "wss": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // one of the tests waits for all the time that Close does
			l, e := serve(t, secure)
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				client, err := Dial(t.Context(), e)
				if err != nil {
					return nil, nil, nil, err
				}
				server, err := l.Accept()
				if err != nil {
					return nil, nil, nil, err
				}
				linger(client, server, 10*time.Second)
				return client, server, func() { closeBoth(client, server) }, nil
			})
		})
	}
}

// Bytes arrive whole and in order for any sizes of writes and reads, in both
// directions at once.
func TestRandomSizes(t *testing.T) {
	for name, secure := range map[string]bool{"ws": false, "wss": true} {
		t.Run(name, func(t *testing.T) {
			l, e := serve(t, secure)
			client, server := pair(t, l, e)
			const total = 4 << 20
			sums := make(chan [2][32]byte, 2)
			for i, ends := range [][2]net.Conn{{client, server}, {server, client}} {
				sent, got := make(chan [32]byte, 1), make(chan [32]byte, 1)
				go func() { sent <- writeRandom(t, ends[0], total, uint64(i)) }()
				go func() { got <- readRandom(t, ends[1], total, uint64(i)) }()
				go func() { sums <- [2][32]byte{<-sent, <-got} }()
			}
			for range 2 {
				if sum := <-sums; sum[0] != sum[1] {
					t.Error("what arrived is not what was sent")
				}
			}
		})
	}
}

// size is mostly small, as SSH's writes are, and now and then larger than a frame.
func size(rnd *rand.Rand) int { return 1 + rnd.IntN(1<<rnd.IntN(19)) }

func writeRandom(t *testing.T, w io.Writer, total int, seed uint64) [32]byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	bytesOf := rand.NewChaCha8([32]byte{byte(seed)})
	sum := sha256.New()
	for total > 0 {
		p := make([]byte, min(size(rnd), total))
		bytesOf.Read(p)
		sum.Write(p)
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Errorf("Write = %d, %v, want %d", n, err, len(p))
			break
		}
		total -= len(p)
	}
	return [32]byte(sum.Sum(nil))
}

func readRandom(t *testing.T, r io.Reader, total int, seed uint64) [32]byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	sum := sha256.New()
	for total > 0 {
		p := make([]byte, size(rnd))
		n, err := r.Read(p)
		if err != nil {
			t.Errorf("Read with %d bytes to come: %v", total, err)
			break
		}
		sum.Write(p[:n])
		total -= n
	}
	return [32]byte(sum.Sum(nil))
}

func TestCleanCloseIsEOF(t *testing.T) {
	l, e := serve(t, true)
	for name, clientCloses := range map[string]bool{"client": true, "server": false} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t, l, e)
			linger(client, server, time.Minute)
			closer, other := net.Conn(client), server
			if !clientCloses {
				closer, other = server, client
			}
			want := bytes.Repeat([]byte("last words "), 20000)
			if _, err := closer.Write(want); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- closer.Close() }()
			got, err := io.ReadAll(other)
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, error %v; want %d and EOF", len(got), err, len(want))
			}
			if _, err := other.Write([]byte("x")); !errors.Is(err, errPeerClosed) {
				t.Errorf("Write after the peer's close: %v", err)
			}
			if _, err := closer.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: %v", err)
			}
			if err := closer.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

// An idle connection lives as long as it must, by its own PINGs.
func TestIdleStaysAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		pass(24 * time.Hour)
		go client.Write([]byte("hello"))
		buf := make([]byte, 5)
		if _, err := io.ReadFull(server, buf); err != nil || string(buf) != "hello" {
			t.Errorf("after a day: %q, %v", buf, err)
		}
	})
}

// A reader that takes a break of ten minutes loses nothing, least of all the
// connection, though its peer's PINGs are stuck behind bulk data.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		const total = 8 << 20
		sent := make(chan [32]byte, 1)
		go func() { sent <- writeRandom(t, server, total, 7) }()
		pass(10 * time.Minute)
		// The other direction works all the while.
		go client.Write([]byte("still here"))
		buf := make([]byte, 10)
		if _, err := io.ReadFull(server, buf); err != nil {
			t.Fatal(err)
		}
		if got := readRandom(t, client, total, 7); got != <-sent {
			t.Error("what arrived is not what was sent")
		}
	})
}

// A path that carries a frame in more time than clientDead is slow, not dead.
func TestSlowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, client, server := bubble(t)
		synctest.Wait()
		n.slow.Store(true)
		start := time.Now()
		go server.Write(make([]byte, maxPayload))
		if _, err := io.ReadFull(client, make([]byte, maxPayload)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < clientDead {
			t.Errorf("it took %s only: the test tests nothing", took)
		}
		if wires := client.Stats().Wires; wires != 1 {
			t.Errorf("%d wires were used", wires)
		}
		n.slow.Store(false)
	})
}

func TestCloseIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		synctest.Wait()
		start := time.Now()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close of a healthy connection took %s", took)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the other end read %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, client, _ := bubble(t)
		synctest.Wait()
		n.lost.Store(true)
		start := time.Now()
		client.Close()
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("Close of a lost connection took %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		go io.Copy(client, rand.NewChaCha8([32]byte{})) // the server does not read
		pass(time.Minute)
		start := time.Now()
		var broken *BrokenError
		if err := client.Close(); !errors.As(err, &broken) {
			t.Errorf("Close with data unread: %v, want a BrokenError", err)
		}
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("Close of a blocked connection took %s", took)
		}
		var final *FinalError
		if n, err := io.Copy(io.Discard, server); n < minLimit || !errors.As(err, &final) || final.Reason != Reset {
			t.Errorf("server read %d bytes, %v", n, err)
		}
	})
}

func TestDeadlineDoesNotClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := bubble(t)
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Hour))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read: %v", err)
		}
		if took := time.Since(start); took != time.Hour {
			t.Errorf("the deadline came after %s", took)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after the deadline: %v", err)
		}
		client.SetReadDeadline(time.Time{})
		go server.Write([]byte("x"))
		if n, err := client.Read(make([]byte, 8)); n != 1 || err != nil {
			t.Errorf("Read with the deadline gone = %d, %v", n, err)
		}

		// A write that times out counts what will arrive, and no more does.
		client.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := client.Write(make([]byte, 4<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
			t.Fatalf("Write = %d, %v", n, err)
		}
		client.SetWriteDeadline(time.Time{})
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			client.Write([]byte{1})
			client.Close()
		}()
		got, err := io.ReadAll(server)
		<-closed
		if err != nil || len(got) != n+1 || got[n] != 1 {
			t.Errorf("server read %d bytes, %v; want %d", len(got), err, n+1)
		}
	})
}
