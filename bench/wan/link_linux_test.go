package wan

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what comes at once on a machine that has
// nothing else to do.
const patience = 2 * time.Minute

func hosts(t *testing.T) (near, far *Host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, h := range []**Host{&near, &far} {
		host, err := NewHost()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { host.Close() })
		*h = host
	}
	return near, far
}

// connect makes a link with an echo server on its far host.
func connect(t *testing.T, shape Shape) (*Link, *Host) {
	t.Helper()
	near, far := hosts(t)
	link, err := NewLink(near, far, shape)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := far.Listen(t.Context(), "tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return link, near
}

func dial(t *testing.T, link *Link) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := link.Dial(ctx, "tcp", "7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func echo(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// leastEcho is the least of five round trips, or of more if none is below a
// limit: a busy machine adds to all of them.
func leastEcho(t *testing.T, conn net.Conn, limit time.Duration) time.Duration {
	t.Helper()
	least := patience
	end := time.Now().Add(patience)
	for i := 0; i < 5 || least >= limit && time.Now().Before(end); i++ {
		least = min(least, echo(t, conn))
	}
	return least
}

func TestDelay(t *testing.T) {
	link, _ := connect(t, Shape{Delay: 20 * time.Millisecond})
	conn := dial(t, link)
	least := leastEcho(t, conn, 140*time.Millisecond)
	t.Logf("round trip of a 40 ms link: %s", least)
	if least < 40*time.Millisecond || least > 140*time.Millisecond {
		t.Errorf("a round trip took %s, want 40 ms", least)
	}
	link.Set(Shape{}, Shape{})
	if least = leastEcho(t, conn, 40*time.Millisecond); least >= 40*time.Millisecond {
		t.Errorf("a round trip takes %s after the delay was taken away", least)
	}
	there, back := link.Stats()
	if there.Packets < 10 || back.Packets < 10 || there.Lost+back.Lost+there.Swallowed+there.Overflowed != 0 {
		t.Errorf("counted %+v and %+v", there, back)
	}
}

func TestRate(t *testing.T) {
	link, _ := connect(t, Shape{Rate: 40_000_000, Queue: 100 * time.Millisecond})
	conn := dial(t, link)
	const size = 2_000_000
	began := time.Now()
	go conn.Write(make([]byte, size))
	if _, err := io.CopyN(io.Discard, conn, size); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	there, back := link.Stats()
	t.Logf("2 MB there and back at 40 Mbit/s took %s; %+v, %+v", took, there, back)
	if took < 400*time.Millisecond-110*time.Millisecond {
		t.Errorf("2 MB at 40 Mbit/s took %s, want 400 ms or more", took)
	}
	if there.Bytes < size || back.Bytes < size {
		t.Errorf("counted %d and %d bytes, want %d and more", there.Bytes, back.Bytes, size)
	}
}

func TestLoss(t *testing.T) {
	link, _ := connect(t, Shape{Loss: 0.02})
	conn := dial(t, link)
	data := bytes.Repeat([]byte("all of it"), 200_000)
	go conn.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	if there, _ := link.Stats(); there.Lost == 0 {
		t.Errorf("nothing was lost: %+v", there)
	}
}

func TestBlackHole(t *testing.T) {
	link, _ := connect(t, Shape{Delay: time.Millisecond})
	conn := dial(t, link)
	echo(t, conn)
	link.SetHole(true)
	conn.Write([]byte("x"))
	for there := (Stats{}); there.Swallowed == 0; there, _ = link.Stats() { // TCP tries again and again
		conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatalf("read %d bytes through a black hole", n)
		}
	}
	link.SetHole(false)
	conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("after the black hole: %v", err)
	}
}

func TestRenumber(t *testing.T) {
	link, _ := connect(t, Shape{})
	old := dial(t, link)
	echo(t, old)
	if err := link.Renumber(); err != nil {
		t.Fatal(err)
	}
	fresh := dial(t, link)
	echo(t, fresh)
	if fresh.LocalAddr().(*net.TCPAddr).IP.Equal(old.LocalAddr().(*net.TCPAddr).IP) {
		t.Errorf("the address is still %s", old.LocalAddr())
	}
	old.Write([]byte("x"))
	old.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := old.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its address")
	}
}

// Processes are on their host, and end with it.
func TestStart(t *testing.T) {
	link, near := connect(t, Shape{})
	cmd := exec.CommandContext(t.Context(), "cat", "/proc/net/fib_trie")
	var out strings.Builder
	cmd.Stdout = &out
	if err := near.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), link.Near().String()) || strings.Contains(out.String(), link.Far().String()) {
		t.Errorf("the process sees %v\n%s\nwant %s", err, out.String(), link.Near())
	}
	lasting := exec.CommandContext(t.Context(), "tail", "-f", "/dev/null")
	if err := near.Start(lasting); err != nil {
		t.Fatal(err)
	}
	near.Close()
	if err := lasting.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	if err := near.Start(exec.CommandContext(t.Context(), "true")); err == nil {
		t.Error("a closed host started a process")
	}
}

// A link may end on the host of the process itself, where others are.
func TestThisHost(t *testing.T) {
	near, _ := hosts(t)
	far, err := ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	link, err := NewLink(near, far, Shape{})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	l, err := net.Listen("tcp", link.Far().String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	conn, err := link.Dial(t.Context(), "tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
