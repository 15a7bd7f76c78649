package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
	"github.com/cloudssh/cloudssh/internal/transport"
)

// The ports of all servers; each lab has a network of its own.
const (
	portSSH       = "22"
	portAgent     = "8080" // and TLS one above
	portLimits    = "9080" // and TLS one above
	portLimitsTCP = "9000"
)

// serveAgent is the agent as its program runs it, over HTTP and HTTPS; and at
// /netconn the same agent on the WebSocket library's own net.Conn.
func serveAgent(ctx context.Context, c config) error {
	// As the program has it: its memory is the app's by right.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)
	hostKey, err := c.signer("host")
	if err != nil {
		return err
	}
	user, err := c.publicKey("user")
	if err != nil {
		return err
	}
	cfg := agent.Config{
		Settings: agent.Settings{Version: 1, AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(user))}},
		HostKey:  hostKey,
		Version:  version,
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	streams := transport.NewListener(transport.ListenerConfig{
		Version: version, Instance: strings.Repeat("0", 32),
		HostKey:        strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey.PublicKey()))),
		RequestTimeout: time.Duration(c.RequestTimeout) * time.Millisecond,
		Backlog:        128,
	})
	netConns := &queue{conns: make(chan net.Conn)}
	mux := http.NewServeMux()
	mux.Handle("/cloudssh/", streams)
	mux.HandleFunc("/netconn", netConns.serve)
	failed := make(chan error, 4)
	go func() { failed <- agent.Serve(ctx, streams, cfg) }()
	go func() { failed <- agent.Serve(ctx, netConns, cfg) }()
	if err := c.serveHTTP(mux, portAgent, failed); err != nil {
		return err
	}
	return serveUntilEOF(failed)
}

// serveLimits serves what is measured without SSH, and the pipe to sshd.
func serveLimits(_ context.Context, c config) error {
	failed := make(chan error, 4)
	tcp, err := net.Listen("tcp", ":"+portLimitsTCP)
	if err != nil {
		return err
	}
	go accept(tcp, failed)
	streams := transport.NewListener(transport.ListenerConfig{Version: version, Instance: strings.Repeat("0", 32), HostKey: "none"})
	go accept(streams, failed)
	netConns := &queue{conns: make(chan net.Conn)}
	go accept(netConns, failed)
	mux := http.NewServeMux()
	mux.Handle("/cloudssh/", streams)
	mux.HandleFunc("/netconn", netConns.serve)
	mux.HandleFunc("/pipe", pipeToSSHD)
	if err := c.serveHTTP(mux, portLimits, failed); err != nil {
		return err
	}
	return serveUntilEOF(failed)
}

func serveUntilEOF(failed <-chan error) error {
	ended := make(chan struct{})
	go func() {
		ready()
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
		return nil
	}
}

// serveHTTP serves HTTP on a port, and HTTPS on the one above.
func (c config) serveHTTP(handler http.Handler, port string, failed chan<- error) error {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(c.Dir, "tls.crt"), filepath.Join(c.Dir, "tls.key"))
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", ":"+above(port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	go func() { failed <- server.Serve(plain) }()
	go func() { failed <- server.ServeTLS(secure, "", "") }()
	return nil
}

func above(port string) string { return port[:len(port)-1] + "1" }

// A queue is a listener of what HTTP requests become.
type queue struct {
	conns chan net.Conn
}

func (q *queue) Accept() (net.Conn, error) { return <-q.conns, nil }
func (q *queue) Close() error              { return nil }
func (q *queue) Addr() net.Addr            { return &net.TCPAddr{} }

func (q *queue) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	conn := &noticed{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), closed: make(chan struct{})}
	q.conns <- conn
	<-conn.closed
}

// noticed is a connection whose end somebody waits for.
type noticed struct {
	net.Conn
	closed chan struct{}
}

func (n *noticed) Close() error {
	select {
	case <-n.closed:
	default:
		close(n.closed)
	}
	return n.Conn.Close()
}

// pipeToSSHD is a plain WebSocket pipe: what came before streams of our kind.
func pipeToSSHD(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	conn := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
	defer conn.Close()
	sshd, err := net.Dial("tcp", "127.0.0.1:"+portSSH)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer sshd.Close()
	both(conn, sshd)
}

// both copies in both directions until one of them ends.
func both(a, b io.ReadWriter) {
	ended := make(chan struct{}, 2)
	for _, way := range [][2]io.ReadWriter{{a, b}, {b, a}} {
		go func() {
			io.CopyBuffer(struct{ io.Writer }{way[0]}, struct{ io.Reader }{way[1]}, make([]byte, 64<<10))
			ended <- struct{}{}
		}()
	}
	<-ended
}

func accept(l net.Listener, failed chan<- error) {
	for {
		conn, err := l.Accept()
		if err != nil {
			failed <- err
			return
		}
		go func() {
			defer conn.Close()
			if err := limit(conn); err != nil && !errors.Is(err, net.ErrClosed) {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}
