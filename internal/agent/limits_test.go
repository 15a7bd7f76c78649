//go:build linux

package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// A queue is a net.Listener in memory, for synctest.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	select {
	case <-q.done:
	default:
		close(q.done)
	}
	return nil
}

func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "queue"} }

// A half is one direction of a connection in memory. It is buffered, unlike
// net.Pipe, since both ends of an SSH handshake write first.
type half struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    bytes.Buffer
	closed bool
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.buf.Len() == 0 && !h.closed {
		h.cond.Wait()
	}
	if h.buf.Len() == 0 {
		return 0, io.EOF
	}
	return h.buf.Read(p)
}

func (h *half) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	h.cond.Broadcast()
	return h.buf.Write(p)
}

func (h *half) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.cond.Broadcast()
}

// A memConn is one end of a connection in memory. It has no deadlines.
type memConn struct {
	net.Conn
	in, out *half
}

func memPipe() (client, server net.Conn) {
	a, b := newHalf(), newHalf()
	return &memConn{in: a, out: b}, &memConn{in: b, out: a}
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *memConn) SetDeadline(time.Time) error { return nil }
func (c *memConn) RemoteAddr() net.Addr        { return &net.UnixAddr{Name: "memory"} }
func (c *memConn) LocalAddr() net.Addr         { return &net.UnixAddr{Name: "memory"} }

func (c *memConn) Close() error {
	c.in.close()
	c.out.close()
	return nil
}

// limited runs an agent inside a bubble. ended gives how long it ran.
func limited(t *testing.T, settings Settings) (dial func() *ssh.Client, ended func() time.Duration) {
	t.Helper()
	signer, _ := newSigner(t)
	host, _ := newSigner(t)
	settings.AuthorizedKeys = []string{string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}
	q := &queue{conns: make(chan net.Conn), done: make(chan struct{})}
	begun := time.Now()
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		stopped <- Serve(ctx, q, Config{Settings: settings, HostKey: host, Environ: testEnviron()})
	}()
	dial = func() *ssh.Client {
		client, server := memPipe()
		q.conns <- server
		conn, chans, reqs, err := ssh.NewClientConn(client, "pipe", &ssh.ClientConfig{
			Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey()),
		})
		if err != nil {
			t.Fatal(err)
		}
		return ssh.NewClient(conn, chans, reqs)
	}
	ended = func() time.Duration {
		if err := <-stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
		return time.Since(begun)
	}
	return dial, ended
}

// pass lets d of a synctest bubble's time go by. It is for bubbles only, where
// the clock jumps ahead as soon as all goroutines wait: nothing really sleeps.
func pass(d time.Duration) { <-time.After(d) }

func TestNeverReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ended := limited(t, Settings{Grace: 600, IdleTimeout: 60})
		if took := ended(); took != 10*time.Minute {
			t.Errorf("the agent ended after %s", took)
		}
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, ended := limited(t, Settings{Grace: 600, IdleTimeout: 1800})
		pass(5 * time.Minute)
		client := dial()
		pass(3 * time.Hour) // a connection is not idle
		client.Close()
		pass(20 * time.Minute)
		client = dial()
		pass(time.Minute)
		client.Close()
		if took, want := ended(), 5*time.Minute+3*time.Hour+21*time.Minute+30*time.Minute; took != want {
			t.Errorf("the agent ended after %s, want %s", took, want)
		}
	})
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, ended := limited(t, Settings{Grace: 600, Expires: time.Now().Add(2 * time.Hour).Unix()})
		client := dial()
		took := ended()
		if took < 2*time.Hour-time.Second || took > 2*time.Hour+time.Second {
			t.Errorf("the agent ended after %s", took)
		}
		if err := client.Wait(); err == nil {
			t.Error("the connection outlived the lease")
		}
	})
}

func TestNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, _ := limited(t, Settings{})
		pass(1000 * time.Hour)
		dial().Close()
		pass(1000 * time.Hour)
		dial().Close()
	})
}

func TestWarnings(t *testing.T) {
	end := time.Unix(1_800_000_000, 0)
	var w leaseWarnings
	for _, tt := range []struct{ left, due, again time.Duration }{
		{time.Hour, 0, 55 * time.Minute},
		{5 * time.Minute, 5 * time.Minute, 4 * time.Minute},
		{2 * time.Minute, 0, time.Minute},
		{time.Minute, time.Minute, maxWait},
		{time.Second, 0, maxWait},
	} {
		due, again := w.next(end.Add(-tt.left), end)
		if due != tt.due || again != tt.again {
			t.Errorf("%s before the end: told %s, next in %s; want %s, %s", tt.left, due, again, tt.due, tt.again)
		}
	}
	if due, again := w.next(end, end.Add(time.Hour)); due != 0 || again != 55*time.Minute {
		t.Errorf("after a renewal: told %s, next in %s", due, again)
	}
	if due, _ := w.next(end.Add(59*time.Minute+30*time.Second), end.Add(time.Hour)); due != 30*time.Second {
		t.Errorf("after a renewal, late: told %s", due)
	}
}

// On a terminal the user is told, and the process gets its SIGHUP.
func TestShutdown(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	s := newTestSession(t, client)
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo ready; sleep 100"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	begun := time.Now()
	f.stop()
	readUntil(t, stdout, "cloudssh: the instance is shutting down\r\n")
	err = s.Wait()
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Signal() != "HUP" {
		t.Errorf("the session ended with %v", err)
	}
	if err := client.Wait(); err == nil {
		t.Error("the connection is still there")
	}
	f.logs.wait(t, "the instance is shutting down")
	if took := time.Since(begun); took > patience/2 { // at patience the process would have been killed
		t.Errorf("it took %s", took)
	}
}

// Without a terminal the reason is told on stderr, apart from the output.
func TestShutdownOfACommand(t *testing.T) {
	f := start(t, nil)
	s := f.session(t)
	var stderr bytes.Buffer
	s.Stderr = &stderr
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo ready; exec sleep 100"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready\n")
	f.stop()
	rest, err := io.ReadAll(stdout)
	if err != nil || len(rest) > 0 {
		t.Errorf("output %q, %v", rest, err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() == "" {
		t.Errorf("the session ended with %v", err)
	}
	if got := stderr.String(); got != "cloudssh: the instance is shutting down\n" {
		t.Errorf("stderr %q", got)
	}
}

// A process that ignores everything is killed, within Cloud Run's ten seconds.
func TestShutdownKills(t *testing.T) {
	if longest := hangupGrace + killGrace + flushGrace + closeGrace; longest >= 10*time.Second {
		t.Errorf("an end may take %s", longest)
	}
	f := start(t, func(c *Config) { c.hangup = time.Second })
	s := f.session(t)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("trap '' HUP TERM INT; echo ready; while :; do sleep 1; done"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "ready")
	f.stop()
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.Signal() != "KILL" {
		t.Errorf("the session ended with %v", err)
	}
}

func TestLeaseWarningText(t *testing.T) {
	if got := leaseWarning(5*time.Minute - 3*time.Millisecond); !strings.Contains(got, "in 5m0s") {
		t.Errorf("warning %q", got)
	}
}
