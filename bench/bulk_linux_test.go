package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
)

// Each figure of a bulk transfer is a median of so many rounds.
const rounds = 5

// A transfer is what one peer did in one direction, round by round.
type transfer struct {
	rates []float64 // MB/s
	cpus  []float64 // seconds of both ends per GiB
}

func (t *transfer) rate() float64 { return median(t.rates) }

// bulk sends so many bytes through a number of channels of one connection. The
// time is from the word to go to the last byte's arrival.
func (l *lab) bulk(t *transfer, p peer, up bool, channels int, size int64) {
	l.b.Helper()
	before := l.cpu()
	var commands []command
	for range channels {
		if up {
			command, _ := l.sink(size / int64(channels))
			commands = append(commands, command)
		} else {
			commands = append(commands, l.source(size/int64(channels)))
		}
	}
	c := l.open(p, commands...)
	began := time.Now()
	failed := make(chan error, channels)
	for _, ch := range c.channels {
		go func() {
			if up {
				failed <- send(ch, size/int64(channels))
			} else {
				failed <- receive(ch, size/int64(channels))
			}
		}()
	}
	for range c.channels {
		if err := <-failed; err != nil {
			l.b.Fatalf("%s: %v", p.name, err)
		}
	}
	took := time.Since(began).Seconds()
	cpu := c.wait() + l.cpu() - before
	t.rates = append(t.rates, float64(size)/1e6/took)
	t.cpus = append(t.cpus, cpu.Seconds()/(float64(size)/(1<<30)))
}

func send(ch *channel, size int64) error {
	if err := zeros(ch.in, size); err != nil {
		return err
	}
	if err := discard(ch.out, 1); err != nil { // that all has arrived
		return err
	}
	return ch.in.Close()
}

func receive(ch *channel, size int64) error {
	if _, err := ch.in.WriteString("G"); err != nil {
		return err
	}
	if err := discard(ch.out, size); err != nil {
		return err
	}
	return ch.in.Close()
}

// raw sends bytes without SSH.
func (l *lab) raw(t *transfer, kind, scheme string, up bool, size int64) {
	l.b.Helper()
	c := config{Dir: l.dir, Kind: kind, Wire: "websocket", Up: up, Size: size}
	if kind == "tcp" {
		c.URL = l.addr + ":" + portLimitsTCP
	} else {
		c.URL = l.url(scheme, portLimits)
	}
	text, err := json.Marshal(c)
	if err != nil {
		l.b.Fatal(err)
	}
	cmd := exec.Command(l.program, "role", "raw", string(text))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	l.start(l.near, cmd)
	if err := cmd.Wait(); err != nil {
		l.b.Fatalf("%s: %v", kind, err)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
	if err != nil {
		l.b.Fatal(err)
	}
	t.rates = append(t.rates, float64(size)/1e6/seconds)
}

func directions() map[string]bool { return map[string]bool{"down": false, "up": true} }

func rates(t *transfer) string {
	return fmt.Sprintf("%s MB/s (%s to %s)", number(t.rate()), number(quantile(t.rates, 0)), number(quantile(t.rates, 100)))
}

// BenchmarkBulk is a transfer through a command's streams on loopback, where
// only processor time counts.
func BenchmarkBulk(b *testing.B) {
	const size = 128 << 20
	l := loopback(b)
	peers := []peer{openSSH(), openSSHPipe(), xNetConn(), oursPlain(), ours(), oursHTTP()}
	for b.Loop() {
		for _, way := range []string{"down", "up"} {
			transfers := make([]transfer, len(peers))
			for range rounds {
				for i, p := range peers {
					l.bulk(&transfers[i], p, directions()[way], 1, size)
				}
			}
			about := "bulk, loopback, " + way
			for i, p := range peers {
				t := &transfers[i]
				x := ratio(t.rates, transfers[0].rates)
				detail := fmt.Sprintf("%s; %s CPU s/GiB", rates(t), number(median(t.cpus)))
				if p == ours() {
					results.atLeast(about, p.name, x, 1, " x OpenSSH", detail)
					b.ReportMetric(x, "x-openssh-"+way)
				} else {
					results.note(about, p.name, number(x)+" x OpenSSH", detail)
				}
			}
		}
	}
}

// BenchmarkRaw is the stream without SSH beside the WebSocket below it.
func BenchmarkRaw(b *testing.B) {
	const size = 256 << 20
	l := loopback(b)
	for b.Loop() {
		for _, way := range []string{"down", "up"} {
			about := "stream without SSH, loopback, " + way
			var tcp transfer
			type pair struct{ socket, gathered, stream transfer }
			var plain, secure pair
			for range rounds {
				up := directions()[way]
				l.raw(&tcp, "tcp", "", up, size)
				for scheme, p := range map[string]*pair{"http": &plain, "https": &secure} {
					l.raw(&p.socket, "netconn", scheme, up, size)
					l.raw(&p.stream, "stream", scheme, up, size)
					if up {
						l.raw(&p.gathered, "gathered", scheme, up, size)
					}
				}
			}
			results.note(about, "raw TCP", rates(&tcp), "")
			for _, tls := range []string{"without", "with"} {
				p := map[string]*pair{"without": &plain, "with": &secure}[tls]
				x := ratio(p.stream.rates, p.socket.rates)
				results.note(about, "raw WebSocket "+tls+" TLS", rates(&p.socket), "")
				if directions()[way] {
					results.note(about, "the same, writes gathered", rates(&p.gathered),
						fmt.Sprintf("stream %s x", number(ratio(p.stream.rates, p.gathered.rates))))
				}
				results.atLeast(about, "stream "+tls+" TLS", x, 0.9, " x WebSocket", rates(&p.stream))
				b.ReportMetric(x, "x-websocket-"+way+"-"+tls+"-tls")
			}
		}
	}
}

// BenchmarkDistance is a transfer over long ways, where windows count.
func BenchmarkDistance(b *testing.B) {
	for _, rtt := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(rtt.String(), func(b *testing.B) {
			l := over(b, wan.Shape{Delay: rtt / 2})
			for b.Loop() {
				for _, way := range []string{"down", "up"} {
					l.distance(rtt, way)
				}
			}
		})
	}
}

func (l *lab) distance(rtt time.Duration, way string) {
	l.b.Helper()
	const size = 48 << 20
	up := directions()[way]
	var tcp, theirs, one, four transfer
	for range 3 {
		l.raw(&tcp, "tcp", "", up, size)
		l.bulk(&theirs, openSSH(), up, 1, size)
		l.bulk(&one, ours(), up, 1, size)
		l.bulk(&four, ours(), up, 4, size)
	}
	about := fmt.Sprintf("bulk, %d ms, %s", rtt.Milliseconds(), way)
	results.note(about, "raw TCP", rates(&tcp), "")
	results.note(about, "OpenSSH over TCP", rates(&theirs), "")
	x, limit := ratio(one.rates, theirs.rates), ratio(four.rates, tcp.rates)
	if rtt < 100*time.Millisecond {
		results.note(about, "cloudssh", number(x)+" x OpenSSH", rates(&one))
		results.note(about, "cloudssh, four channels", number(limit)+" x TCP", rates(&four))
		return
	}
	results.atLeast(about, "cloudssh", x, 1.3, " x OpenSSH", rates(&one))
	results.atLeast(about, "cloudssh, four channels", limit, 0.95, " x TCP", rates(&four))
	l.b.ReportMetric(x, "x-openssh-"+way)
	l.b.ReportMetric(limit, "x-tcp-"+way)
}

// BenchmarkLoss is a transfer over a link that loses packets.
func BenchmarkLoss(b *testing.B) {
	const size = 12 << 20
	l := over(b, wan.Shape{Delay: 20 * time.Millisecond, Rate: 50_000_000, Queue: 100 * time.Millisecond, Loss: 0.005})
	for b.Loop() {
		for _, way := range []string{"down", "up"} {
			up := directions()[way]
			var tcp, theirs, mine transfer
			for range 3 {
				l.raw(&tcp, "tcp", "", up, size)
				l.bulk(&theirs, openSSH(), up, 1, size)
				l.bulk(&mine, ours(), up, 1, size)
			}
			about := "bulk, 50 Mbit/s, 40 ms, 0.5 % loss, " + way
			results.note(about, "raw TCP", rates(&tcp), "")
			results.note(about, "OpenSSH over TCP", rates(&theirs), "")
			results.note(about, "cloudssh", number(ratio(mine.rates, theirs.rates))+" x OpenSSH", rates(&mine))
		}
		there, back := l.link.Stats()
		if there.Lost == 0 || back.Lost == 0 {
			b.Fatalf("the link lost nothing: %+v, %+v", there, back)
		}
	}
}
