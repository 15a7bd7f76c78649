package session_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// TestTheStreamIsCut: a session and forwards over the real transport, whose
// connections are cut again and again, give what they give without.
func TestTheStreamIsCut(t *testing.T) {
	var l *transport.Listener
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.ServeHTTP(w, r) }))
	w := serve(t, func(host ssh.Signer) net.Listener {
		l = transport.NewListener(transport.ListenerConfig{
			Version: "v1", Instance: "00ff", HostKey: string(ssh.MarshalAuthorizedKey(host.PublicKey())),
		})
		return l
	})
	network := &cuttable{Listener: web.Listener}
	web.Listener = network
	web.Start()
	t.Cleanup(web.Close)
	conn, err := transport.Dial(t.Context(), transport.Endpoint{URL: web.URL, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	c := w.handshake(conn, w.mine)
	p := sit(t, c, session.Command{})
	p.sees("$")
	for _, word := range []string{"one", "two", "three"} {
		network.cut()
		p.types("echo " + word[:1] + "\"\"" + word[1:] + "\r")
		p.sees(word)
	}
	network.cut()
	if err := p.control.Redraw(t.Context()); err != nil { // waits for the connection
		t.Error(err)
	}
	echo := counts(t, "tcp", "127.0.0.1:0")
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		checkSums(t, func() (net.Conn, error) { return c.Dial(t.Context(), "tcp", echo.Addr().String()) })
	}()
	var sum lockedBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(t.Context(), session.Command{Shell: "seq 1 200000; exit 3", Stdout: &sum})
	}()
	for _, n := range []string{"\n1000\n", "\n50000\n", "\n150000\n"} {
		sum.await(t, n)
		network.cut()
	}
	var exit *session.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("the command ended with %v", err)
	}
	if got := sum.String(); len(got) != 1288895 || !strings.HasSuffix(got, "\n199999\n200000\n") {
		t.Errorf("got %d bytes", len(got))
	}
	<-forwarded
	if conn.Stats().Resumes < 4 {
		t.Errorf("%+v: the cuts went unnoticed", conn.Stats())
	}
}

// cuttable is a network whose connections can be cut.
type cuttable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cuttable) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cuttable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
