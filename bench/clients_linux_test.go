package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/transport"
	"github.com/cloudssh/cloudssh/internal/tty"
)

// runClient is to our streams, and to SSH over the WebSocket library's
// net.Conn, what ssh is to TCP. It ends with its commands or its standard
// input, and then prints the stream's counts.
func runClient(ctx context.Context, c config) error {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	conn, hostKey, err := c.dial(ctx)
	if err != nil {
		return err
	}
	signer, err := c.signer("user")
	if err != nil {
		return err
	}
	client, err := session.New(ctx, conn, session.Config{Signer: signer, HostKey: hostKey, User: "root"})
	if err != nil {
		return err
	}
	failed := make(chan error, len(c.Commands))
	for i, command := range c.Commands {
		in, out := os.NewFile(uintptr(3+2*i), "in"), os.NewFile(uintptr(4+2*i), "out")
		cmd := session.Command{Shell: command.Shell, Stdin: in, Stdout: out, Stderr: os.Stderr}
		if command.TTY {
			cmd.Terminal = &session.Terminal{Term: "xterm", Size: tty.Size{Cols: 80, Rows: 24}}
			cmd.Stdin = keyboard{in, conn}
		}
		go func() {
			err := client.Run(ctx, cmd)
			out.Close()
			failed <- err
		}()
	}
	var errs []error
	for range c.Commands {
		if err := <-failed; ctx.Err() == nil {
			errs = append(errs, err)
		}
	}
	if ours, ok := conn.(*transport.Conn); ok {
		errs = append(errs, json.NewEncoder(os.Stdout).Encode(ours.Stats()))
	}
	return errors.Join(append(errs, client.Close())...)
}

// dial connects to the agent.
func (c config) dial(ctx context.Context) (net.Conn, ssh.PublicKey, error) {
	if c.Kind == "netconn" {
		hostKey, err := c.publicKey("host")
		if err != nil {
			return nil, nil, err
		}
		conn, err := dialNetConn(ctx, c.URL+"/netconn", nil)
		return conn, hostKey, err
	}
	conn, err := c.dialStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(conn.Peer().HostKey)) //nolint:dogsled // its signature
	return conn, hostKey, err
}

func (c config) dialStream(ctx context.Context) (*transport.Conn, error) {
	wire, err := transport.ParseWire(c.Wire)
	if err != nil {
		return nil, err
	}
	return transport.Dial(ctx, transport.Endpoint{URL: c.URL, Version: version, Wire: wire})
}

func dialNetConn(ctx context.Context, url string, client *http.Client) (net.Conn, error) {
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}

// A keyboard tells the connection of keys, as the command-line client does.
type keyboard struct {
	io.Reader
	conn net.Conn
}

func (k keyboard) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if ours, ok := k.conn.(*transport.Conn); ok && n > 0 {
		ours.Probe()
	}
	return n, err
}

// netcat is ssh's ProxyCommand: a plain WebSocket pipe.
func netcat(ctx context.Context, url string) error {
	conn, err := dialNetConn(ctx, url, nil)
	if err != nil {
		return err
	}
	both(conn, struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout})
	return nil
}

// A request is what the client of limit sends first: whether it will send,
// and how many bytes are to be sent.
const requestSize = 9

// limit is the server's side of a raw transfer.
func limit(conn net.Conn) error {
	var request [requestSize]byte
	if _, err := io.ReadFull(conn, request[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint64(request[1:]))
	if request[0] == 0 {
		if err := zeros(conn, size); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1)) // that it has all
		return err
	}
	if err := discard(conn, size); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("D")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func discard(r io.Reader, size int64) error {
	buf := make([]byte, 64<<10)
	for size > 0 {
		n, err := r.Read(buf)
		size -= int64(n)
		if err != nil && size > 0 {
			return err
		}
	}
	return nil
}

// runRaw is the client's, and prints the seconds it took.
func runRaw(ctx context.Context, c config) error {
	var conn net.Conn
	var err error
	switch c.Kind {
	case "tcp":
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", c.URL)
	case "netconn":
		conn, err = dialNetConn(ctx, c.URL+"/netconn", nil)
	case "gathered":
		conn, err = dialNetConn(ctx, c.URL+"/netconn", gatheringClient())
	default:
		conn, err = c.dialStream(ctx)
	}
	if err != nil {
		return err
	}
	began := time.Now()
	request := binary.BigEndian.AppendUint64([]byte{0}, uint64(c.Size))
	if c.Up {
		request[0] = 1
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if c.Up {
		err = errors.Join(zeros(conn, c.Size), discard(conn, 1))
	} else {
		err = discard(conn, c.Size)
	}
	fmt.Fprintln(os.Stdout, time.Since(began).Seconds())
	_, werr := conn.Write([]byte("D"))
	return errors.Join(err, werr, conn.Close())
}

// gatheringClient makes one write of each message that the WebSocket library's
// client writes in pieces of 4,096 bytes: the best that the library can do.
func gatheringClient() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &gathering{Conn: conn}, err
	}
	dialTLS := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&tls.Dialer{}).DialContext(ctx, network, addr)
		return &gathering{Conn: conn}, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dialTLS}}
}

type gathering struct {
	net.Conn
	mu     sync.Mutex
	pieces bytes.Buffer
}

func (g *gathering) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pieces.Write(p)
	if len(p) == 4096 {
		return len(p), nil
	}
	_, err := g.Conn.Write(g.pieces.Bytes())
	g.pieces.Reset()
	return len(p), err
}
