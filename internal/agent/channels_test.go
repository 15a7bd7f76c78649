//go:build linux

package agent

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A client that opens channels without end gets what the limits give it, and
// nobody else notices.
func TestTenThousandChannels(t *testing.T) {
	f := start(t, nil)
	echo := echoServer(t, "tcp", "127.0.0.1:0")
	other, greedy := f.dial(t), f.dial(t)
	direct := ssh.Marshal(struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}{"127.0.0.1", portOf(echo), "127.0.0.1", 1})
	before := heap()
	var mu sync.Mutex
	opened, refused := map[string]int{}, map[string]int{}
	var all sync.WaitGroup
	work := make(chan string)
	for range 64 {
		all.Go(func() {
			for kind := range work {
				_, requests, err := greedy.OpenChannel(kind, map[string][]byte{"direct-tcpip": direct}[kind])
				var no *ssh.OpenChannelError
				mu.Lock()
				switch {
				case err == nil:
					opened[kind]++
					go ssh.DiscardRequests(requests)
				case errors.As(err, &no) && no.Reason == ssh.ResourceShortage && strings.HasPrefix(no.Message, "more than"):
					refused[kind]++
				default:
					t.Errorf("%s: %v", kind, err)
				}
				mu.Unlock()
			}
		})
	}
	for i := range 10_000 {
		work <- []string{"session", "direct-tcpip"}[i%2]
		if i%2000 == 0 {
			expectResponsive(t, other)
		}
	}
	close(work)
	all.Wait()
	if opened["session"] != maxSessions || opened["direct-tcpip"] != maxForwards {
		t.Errorf("opened %v, refused %v", opened, refused)
	}
	if grown := heap() - before; grown > 100<<20 { // the client's memory is in it
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	expectResponsive(t, other)
	greedy.Close()
	f.logs.wait(t, "connection closed")
	expectResponsive(t, other)
}

// expectResponsive wants an answer, a session and a forwarded connection.
func expectResponsive(t *testing.T, client *ssh.Client) {
	t.Helper()
	begun := time.Now()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := output(t, s, "echo here"); got != "here\n" {
		t.Errorf("output %q", got)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %s", took)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The SSH library keeps a channel until its client closes it, with what is sent
// on it: so long it has to count.
func TestChannelsCountUntilTheClientClosesThem(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	var chans []net.Conn
	for range maxForwards {
		conn, err := client.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", len(chans)+1, err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("the end is %v", err)
		}
		chans = append(chans, conn)
	}
	if _, err := client.Dial("tcp", l.Addr().String()); err == nil || !strings.Contains(err.Error(), "more than 256 forwarded") {
		t.Errorf("one connection too many: %v", err)
	}
	for _, conn := range chans {
		conn.Close()
	}
	// An answer comes after the ends that were told before.
	deadline := time.Now().Add(patience)
	for {
		conn, err := client.Dial("tcp", l.Addr().String())
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestListenerLimit(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	for i := range maxListeners {
		if ok, _ := ask(t, client, "tcpip-forward", tcpForward{"127.0.0.1", 0}); !ok {
			t.Fatalf("listener %d was refused\n%s", i+1, f.logs)
		}
	}
	if ok, _ := ask(t, client, "tcpip-forward", tcpForward{"127.0.0.1", 0}); ok {
		t.Error("one listener too many")
	}
	f.logs.wait(t, "one connection may listen on 64 addresses")
}

// A deafConn reads until it is told to stop.
type deafConn struct {
	net.Conn
	stop <-chan struct{}
	gone chan struct{}
	once sync.Once
}

func (c *deafConn) Read(p []byte) (int, error) {
	select {
	case <-c.stop:
		<-c.gone
		return 0, net.ErrClosed
	default:
		return c.Conn.Read(p)
	}
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// A client that does not read its forwarded connections, or anything at all, holds
// up nobody but itself. And the agent ends in time.
func TestClientsThatDoNotRead(t *testing.T) {
	var conn *deafConn
	t.Cleanup(func() { // after the agent has ended
		if conn != nil {
			conn.Close()
		}
	})
	f := start(t, nil)
	addr := floodServer(t)
	tcp, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp.(*net.TCPConn).SetReadBuffer(16 << 10)
	stop := make(chan struct{})
	conn = &deafConn{Conn: tcp, stop: stop, gone: make(chan struct{})}
	c, chans, reqs, err := ssh.NewClientConn(conn, f.addr, f.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	deaf, client := ssh.NewClient(c, chans, reqs), f.dial(t)
	var floods []net.Conn
	for _, who := range []*ssh.Client{client, deaf} {
		for range 8 {
			flood, err := who.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			floods = append(floods, flood)
		}
	}
	close(stop)
	for _, flood := range floods {
		if _, err := flood.Write([]byte("go")); err != nil {
			t.Fatal(err)
		}
	}
	s := newTestSession(t, client)
	want := bytes.Repeat([]byte("x"), 8<<20)
	s.Stdin = bytes.NewReader(want)
	if got, err := s.Output("cat"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	expectResponsive(t, client)
}

// floodServer answers a byte with more than any window takes.
func floodServer(t *testing.T) (address string) {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return
		}
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}).Addr().String()
}

// A mistake of ours in the service of one connection is its end, not everybody's.
func TestPanicsEndTheirConnection(t *testing.T) {
	a := startKnown(t, Settings{})
	victim, _ := a.mustDial(t, "", nil)
	a.mu.Lock()
	for c := range a.conns {
		c.spawn(func() { panic("a mistake") })
	}
	a.mu.Unlock()
	if err := victim.Wait(); err == nil {
		t.Error("the connection lives on")
	}
	other, _ := a.mustDial(t, "", nil)
	if st := statusOf(t, other); st.Connections == 0 {
		t.Errorf("status %+v", st)
	}
}

// A newChannel is a request for a channel that does not come to be.
type newChannel struct {
	ssh.NewChannel
	rejected bool
}

func (*newChannel) ChannelType() string { return "session" }

func (*newChannel) Accept() (ssh.Channel, <-chan *ssh.Request, error) {
	return nil, nil, net.ErrClosed
}

func (c *newChannel) Reject(ssh.RejectionReason, string) error {
	c.rejected = true
	return nil
}

// OpenSSH asks for its session and says in the same breath that it wants no other.
func TestNoMoreSessionsSparesTheOneBefore(t *testing.T) {
	for range 100 { // select takes either
		c := &connection{sessions: make(map[*session]bool)}
		channels, requests := make(chan ssh.NewChannel, 16), make(chan *ssh.Request, 16)
		session := &newChannel{}
		channels <- session
		requests <- &ssh.Request{Type: "keepalive@openssh.com"}
		requests <- &ssh.Request{Type: noMoreSessions}
		close(channels)
		close(requests)
		c.serve(channels, requests)
		if session.rejected || !c.noSessions {
			t.Fatalf("the session was rejected: %v; more are refused: %v", session.rejected, c.noSessions)
		}
	}
}
