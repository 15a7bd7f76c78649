//go:build unix

package transport

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
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

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A bulk is one way to carry bytes in one direction.
type bulk struct {
	name     string
	from, to net.Conn
}

// carry moves total bytes, written as x/crypto/ssh does: 32 KiB packets in two
// pieces, if the path does not care, and says how long it took.
func (p bulk) carry(b *testing.B, total int) time.Duration {
	b.Helper()
	began := time.Now()
	go func() {
		packet := make([]byte, 32<<10)
		for range total / len(packet) {
			p.from.Write(packet[:4096])
			p.from.Write(packet[4096:])
		}
	}()
	buf := make([]byte, 64<<10)
	for left := total; left > 0; {
		n, err := p.to.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	return time.Since(began)
}

// rawConn writes full messages, as fast as the WebSocket can go: what it is
// given in pieces it gathers.
type rawConn struct {
	net.Conn
	w   *wsWire
	out []byte
	in  []byte
}

func (c *rawConn) Write(p []byte) (int, error) {
	if c.out = append(c.out, p...); len(c.out) < maxPayload {
		return len(p), nil
	}
	err := c.w.write(c.out)
	c.out = c.out[:0]
	return len(p), err
}

func (c *rawConn) Read(p []byte) (n int, err error) {
	if len(c.in) == 0 {
		if c.in, err = c.w.read(); err != nil {
			return 0, err
		}
	}
	n = copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

// rawPair is a WebSocket without a stream on it.
func rawPair(b *testing.B, secure bool) (client, server net.Conn) {
	b.Helper()
	wires := make(chan wire, 1)
	done := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, testVersion)
		if ws, err := acceptWS(w, r); err == nil {
			wires <- ws
			<-done
		}
	})
	e := serveHandler(b, handler, secure)
	w, _, err := e.openWebSocket(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		close(done)
		w.close()
	})
	return &rawConn{w: w.(*wsWire)}, &rawConn{w: (<-wires).(*wsWire)}
}

// BenchmarkBulk is a stream beside the WebSocket that it runs on, in turn.
func BenchmarkBulk(b *testing.B) {
	const total = 64 << 20
	for _, secure := range []bool{false, true} {
		l, e := serve(b, secure)
		client, server := pair(b, l, e)
		rawClient, rawServer := rawPair(b, secure)
		for direction, paths := range map[string][2]bulk{
			"up":   {{"stream", client, server}, {"raw", rawClient, rawServer}},
			"down": {{"stream", server, client}, {"raw", rawServer, rawClient}},
		} {
			b.Run(fmt.Sprintf("tls=%t/%s", secure, direction), func(b *testing.B) {
				var took, used [2][]float64
				for b.Loop() {
					for i, p := range paths {
						before := cpuTime(b)
						took[i] = append(took[i], total/1e6/p.carry(b, total).Seconds())
						used[i] = append(used[i], (cpuTime(b)-before).Seconds()*(1<<30)/total)
					}
				}
				for i, p := range paths {
					slices.Sort(took[i])
					slices.Sort(used[i])
					b.ReportMetric(took[i][len(took[i])/2], "MB/s-"+p.name)
					b.ReportMetric(used[i][len(used[i])/2], "cpu-s/GiB-"+p.name)
				}
				b.ReportMetric(took[0][len(took[0])/2]/took[1][len(took[1])/2], "x-raw")
			})
		}
	}
}

// BenchmarkEcho is a keystroke and its echo, over TCP and over a stream in turn.
func BenchmarkEcho(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%t", secure), func(b *testing.B) {
			l, e := serve(b, secure)
			client, server := pair(b, l, e)
			tcpClient, tcpServer := tcpPair(b)
			go io.Copy(server, server)
			go io.Copy(tcpServer, tcpServer)
			took := map[string][]time.Duration{}
			key := make([]byte, 1)
			for b.Loop() {
				for name, conn := range map[string]net.Conn{"stream": client, "tcp": tcpClient} {
					began := time.Now()
					conn.Write(key)
					if _, err := conn.Read(key); err != nil {
						b.Fatal(err)
					}
					took[name] = append(took[name], time.Since(began))
				}
			}
			for name, d := range took {
				slices.Sort(d)
				b.ReportMetric(float64(d[len(d)/2].Nanoseconds())/1e3, "us-p50-"+name)
				b.ReportMetric(float64(d[len(d)*99/100].Nanoseconds())/1e3, "us-p99-"+name)
			}
		})
	}
}
