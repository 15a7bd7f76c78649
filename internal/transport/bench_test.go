package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// tcpPair is the yardstick: a loopback TCP connection.
func tcpPair(b *testing.B) (net.Conn, net.Conn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

func paths(b *testing.B) map[string]func(*testing.B) (net.Conn, net.Conn) {
	b.Helper()
	over := func(secure bool) func(*testing.B) (net.Conn, net.Conn) {
		return func(b *testing.B) (net.Conn, net.Conn) {
			b.Helper()
			l, e := serve(b, secure)
			return pair(b, l, e)
		}
	}
	return map[string]func(*testing.B) (net.Conn, net.Conn){"tcp": tcpPair, "ws": over(false), "wss": over(true)}
}

// BenchmarkBulk writes as x/crypto/ssh does, 32 KiB packets in two pieces.
func BenchmarkBulk(b *testing.B) {
	for name, path := range paths(b) {
		for _, up := range []bool{true, false} {
			direction := map[bool]string{true: "up", false: "down"}[up]
			b.Run(name+"/"+direction, func(b *testing.B) {
				from, to := path(b)
				if !up {
					from, to = to, from
				}
				packet := make([]byte, 32<<10)
				b.SetBytes(int64(len(packet)))
				go func() {
					for range b.N {
						from.Write(packet[:4096])
						from.Write(packet[4096:])
					}
				}()
				buf := make([]byte, 64<<10)
				for left := b.N * len(packet); left > 0; {
					n, err := to.Read(buf)
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
			})
		}
	}
}

// BenchmarkEcho is a keystroke and its echo.
func BenchmarkEcho(b *testing.B) {
	for name, path := range paths(b) {
		b.Run(name, func(b *testing.B) {
			client, server := path(b)
			go io.Copy(server, server)
			key := make([]byte, 1)
			for b.Loop() {
				if _, err := client.Write(key); err != nil {
					b.Fatal(err)
				}
				if _, err := client.Read(key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// countingConn counts the writes that reach the network.
type countingConn struct {
	io.ReadWriteCloser
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return len(p), nil
}

func (c *countingConn) Close() error { return nil }

func TestCoalescing(t *testing.T) {
	conn := &countingConn{}
	c := &coalescer{ReadWriteCloser: conn}
	piece := make([]byte, 4096)
	c.hold()
	for range 17 {
		c.Write(piece)
	}
	if conn.writes != 0 {
		t.Fatalf("%d writes before the end of the message", conn.writes)
	}
	c.Flush()
	c.Flush()
	if conn.writes != 1 {
		t.Errorf("%d writes for a message, want 1", conn.writes)
	}
	c.Write(piece) // by the library itself
	if conn.writes != 2 {
		t.Errorf("%d writes after one that was not held", conn.writes)
	}
	c.hold()
	for range 100 {
		c.Write(piece)
	}
	if conn.writes < 3 || cap(c.buf) > 8*readLimit {
		t.Errorf("%d writes, %d bytes held: the buffer is not bounded", conn.writes, cap(c.buf))
	}
}

// BenchmarkClientWrites is a client that sends full frames, with the library's
// pieces written one by one and gathered.
func BenchmarkClientWrites(b *testing.B) {
	for name, secure := range map[string]bool{"ws": false, "wss": true} {
		for _, coalesced := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/coalesced=%t", name, coalesced), func(b *testing.B) {
				l, e := serve(b, secure)
				go func() {
					if conn, err := l.Accept(); err == nil {
						io.Copy(io.Discard, conn)
					}
				}()
				client, up := e.client()
				if !coalesced {
					client.Transport = up.base
				}
				ws, _, err := websocket.Dial(b.Context(), e.URL+StreamPath, &websocket.DialOptions{
					HTTPClient: client, Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{VersionHeader: {testVersion}},
				})
				if err != nil {
					b.Fatal(err)
				}
				defer ws.CloseNow()
				frame := make([]byte, 1+maxPayload)
				frame[0] = frameData
				b.SetBytes(maxPayload)
				for b.Loop() {
					if err := ws.Write(context.Background(), websocket.MessageBinary, frame); err != nil {
						b.Fatal(err)
					}
					if coalesced {
						up.conn.Flush()
					}
				}
			})
		}
	}
}
