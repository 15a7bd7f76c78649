package session

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// server is an SSH server that does what a test says.
type server struct {
	signer  ssh.Signer
	banner  string
	refuse  bool                                   // refuse the user's key
	session func(*remote)                          // serves one session channel
	global  func(*ssh.Request) (ok bool, r []byte) // answers global requests; nil refuses
	silent  bool                                   // never answers global requests
	conns   chan net.Conn                          // each accepted connection
	forward func(ssh.NewChannel)                   // serves channels other than sessions
	id      chan []byte                            // gets the SSH session id; may be nil
	wrap    func(net.Conn) net.Conn                // the client's end; may be nil
	opens   chan ssh.Conn                          // gets the connection, to open channels on; may be nil
}

// remote is the server's end of a session channel.
type remote struct {
	t testing.TB
	ssh.Channel
	reqs <-chan *ssh.Request
	conn net.Conn
}

// next returns the next request and grants it.
func (r *remote) next() *ssh.Request {
	req, ok := <-r.reqs
	if !ok {
		return &ssh.Request{Type: "closed"}
	}
	if req.WantReply {
		if err := req.Reply(true, nil); err != nil {
			r.t.Logf("replying to %s: %v", req.Type, err)
		}
	}
	return req
}

// want reads requests until one of the given type.
func (r *remote) want(request string) *ssh.Request {
	for {
		switch req := r.next(); req.Type {
		case request:
			return req
		case "closed":
			r.t.Errorf("the channel was closed before %s", request)
			return req
		}
	}
}

func (r *remote) exit(status uint32) {
	_, _ = r.SendRequest("exit-status", false, ssh.Marshal(struct{ S uint32 }{status}))
}

func (r *remote) print(s string)  { _, _ = io.WriteString(r, s) }
func (r *remote) printE(s string) { _, _ = io.WriteString(r.Stderr(), s) }

func key(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// listen starts the server and returns the client's connection to it.
func (s *server) listen(tb testing.TB) net.Conn {
	tb.Helper()
	if s.signer == nil {
		s.signer = key(tb)
	}
	s.conns = make(chan net.Conn, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.conns <- conn
		s.serve(tb, conn)
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		_ = l.Close()
		served.Wait()
	})
	if s.wrap != nil {
		return s.wrap(conn)
	}
	return conn
}

func (s *server) serve(tb testing.TB, conn net.Conn) {
	tb.Helper()
	cfg := &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			if s.refuse {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	if s.banner != "" {
		cfg.BannerCallback = func(ssh.ConnMetadata) string { return s.banner }
	}
	cfg.AddHostKey(s.signer)
	sc, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		_ = conn.Close()
		return
	}
	if s.id != nil {
		s.id <- sc.SessionID()
	}
	if s.opens != nil {
		s.opens <- sc
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer sc.Close()
	go s.answer(reqs)
	for nc := range chans {
		if s.forward != nil && nc.ChannelType() != "session" {
			all.Go(func() { s.forward(nc) })
			continue
		}
		if s.session == nil {
			_ = nc.Reject(ssh.Prohibited, "no sessions here")
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer ch.Close()
			s.session(&remote{tb, ch, reqs, conn})
		})
	}
}

func (s *server) answer(reqs <-chan *ssh.Request) {
	for r := range reqs {
		if s.silent {
			continue
		}
		ok, payload := false, []byte(nil)
		if s.global != nil {
			ok, payload = s.global(r)
		}
		_ = r.Reply(ok, payload)
	}
}

// connect returns a client of a server with these sessions.
func connect(tb testing.TB, session func(*remote)) *Client {
	tb.Helper()
	return (&server{session: session}).client(tb)
}

func (s *server) client(tb testing.TB) *Client {
	tb.Helper()
	conn := s.listen(tb)
	c, err := New(tb.Context(), conn, Config{Signer: key(tb), HostKey: s.signer.PublicKey(), User: "jane"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
