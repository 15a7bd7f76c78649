package session

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"golang.org/x/crypto/ssh"
)

func forwardedTo(host string, port uint32) []byte {
	return ssh.Marshal(forwardedTCP{host, port, "192.0.2.1", 1234})
}

// TestEarlyConnection: one that comes before we know which port the agent has
// chosen finds its listener.
func TestEarlyConnection(t *testing.T) {
	s := &server{opens: make(chan ssh.Conn, 1)}
	var c *Client
	opened := make(chan error, 2)
	s.global = func(r *ssh.Request) (bool, []byte) {
		if r.Type != "tcpip-forward" {
			return true, nil
		}
		conn := <-s.opens
		for _, port := range []uint32{7, 8} {
			go func() {
				ch, reqs, err := conn.OpenChannel("forwarded-tcpip", forwardedTo("localhost", port))
				if err == nil {
					go ssh.DiscardRequests(reqs)
					_, err = io.WriteString(ch, "early")
					_ = ch.Close()
				}
				opened <- err
			}()
		}
		for early := 0; early < 2; runtime.Gosched() { // until both are there
			c.listeners.mu.Lock()
			early = len(c.listeners.early)
			c.listeners.mu.Unlock()
		}
		return true, ssh.Marshal(struct{ Port uint32 }{7})
	}
	c = s.client(t)
	l, err := c.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != "localhost:7" {
		t.Errorf("listening on %v", l.Addr())
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "early" || conn.RemoteAddr().String() != "192.0.2.1:1234" {
		t.Errorf("%q from %v, %v", got, conn.RemoteAddr(), err)
	}
	for range 2 {
		var refused *ssh.OpenChannelError
		if err := <-opened; err != nil && (!errors.As(err, &refused) || refused.Reason != ssh.Prohibited) {
			t.Error(err)
		}
	}
}

// TestChannelsNobodyAskedFor are refused.
func TestChannelsNobodyAskedFor(t *testing.T) {
	s := &server{opens: make(chan ssh.Conn, 1), global: func(*ssh.Request) (bool, []byte) { return true, nil }}
	c := s.client(t)
	conn := <-s.opens
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	full := c.agents.allow(func() (net.Conn, error) { return nil, errors.New("no") })
	refuses := func(kind string, payload []byte, want ssh.RejectionReason) {
		t.Helper()
		var refused *ssh.OpenChannelError
		if _, _, err := conn.OpenChannel(kind, payload); !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%s: %v, want reason %d", kind, err, want)
		}
	}
	refuses("forwarded-tcpip", forwardedTo("127.0.0.1", 10), ssh.Prohibited)
	refuses("forwarded-tcpip", forwardedTo("127.0.0.1", 0), ssh.ConnectionFailed)
	refuses("forwarded-tcpip", []byte("x"), ssh.ConnectionFailed)
	refuses("forwarded-streamlocal@openssh.com", ssh.Marshal(forwardedUnix{Path: "/x"}), ssh.Prohibited)
	refuses("forwarded-streamlocal@openssh.com", nil, ssh.ConnectionFailed)
	refuses("x11", nil, ssh.UnknownChannelType)
	refuses("session", nil, ssh.UnknownChannelType)
	refuses("auth-agent@openssh.com", nil, ssh.ConnectionFailed)
	full()
	refuses("auth-agent@openssh.com", nil, ssh.Prohibited)
	for range maxWaiting {
		l.(*listener).waiting <- nil
	}
	refuses("forwarded-tcpip", forwardedTo("127.0.0.1", 9), ssh.ResourceShortage)
	for range maxWaiting {
		<-l.(*listener).waiting
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	refuses("forwarded-tcpip", forwardedTo("127.0.0.1", 9), ssh.Prohibited)
}

// TestJoin: ends are passed on one by one, and a stream that breaks resets the
// other.
func TestJoin(t *testing.T) {
	pair := func() (near, far *net.TCPConn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return a.(*net.TCPConn), b.(*net.TCPConn)
	}
	left, a := pair()
	b, right := pair()
	joined := make(chan struct{})
	go func() {
		Join(a, b)
		close(joined)
	}()
	_, _ = io.WriteString(left, "question")
	_ = left.CloseWrite()
	if got, err := io.ReadAll(right); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	_, _ = io.WriteString(right, "answer")
	_ = right.CloseWrite()
	if got, err := io.ReadAll(left); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	<-joined

	left, a = pair()
	b, right = pair()
	go Join(a, b)
	_, _ = io.WriteString(left, "half")
	if _, err := io.ReadFull(right, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_ = left.SetLinger(0)
	_ = left.Close()
	if _, err := right.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a broken stream ends with %v", err)
	}
}
