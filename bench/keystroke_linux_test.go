package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
	"github.com/cloudssh/cloudssh/internal/transport"
)

const (
	pace   = 3 * time.Millisecond // between keys
	nobody = 20 * time.Second     // an echo that takes longer will not come
)

// fiftyMbit is a link as homes have it.
func fiftyMbit() wan.Shape {
	return wan.Shape{Delay: 20 * time.Millisecond, Rate: 50_000_000, Queue: 100 * time.Millisecond}
}

// key types a key and waits for it.
func (ch *channel) key(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	if _, err := ch.in.Write([]byte("k")); err != nil {
		return 0, err
	}
	ch.out.SetReadDeadline(began.Add(limit))
	var echo [1]byte
	if _, err := ch.out.Read(echo[:]); err != nil {
		return 0, fmt.Errorf("waiting for an echo: %w", err)
	}
	return time.Since(began), nil
}

// keys types until a number of keys or the end, whichever comes first.
func (l *lab) keys(ch *channel, number int, end time.Time) []time.Duration {
	l.b.Helper()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var times []time.Duration
	for len(times) < number && (len(times) == 0 || time.Now().Before(end)) {
		<-tick.C
		d, err := ch.key(nobody)
		if err != nil {
			l.b.Fatal(err)
		}
		times = append(times, d)
	}
	return times
}

func percentiles(times []time.Duration) string {
	return fmt.Sprintf("p50 %s ms, p99 %s ms, max %s ms, %d keys",
		number(ms(median(times))), number(ms(quantile(times, 99))), number(ms(quantile(times, 100))), len(times))
}

// BenchmarkKeys is a keystroke and its echo on loopback, all connections open
// and in turn.
func BenchmarkKeys(b *testing.B) {
	l := loopback(b)
	peers := []peer{openSSH(), openSSHPipe(), xNetConn(), oursPlain(), ours(), oursHTTP()}
	for b.Loop() {
		times := make([][]time.Duration, len(peers))
		medians := make([][]float64, len(peers))
		var conns []*conn
		for _, p := range peers {
			conns = append(conns, l.open(p, echoing()))
		}
		for range 2 * rounds {
			for i, c := range conns {
				round := l.keys(c.channels[0], 60, time.Now().Add(time.Minute))
				times[i] = append(times[i], round...)
				medians[i] = append(medians[i], ms(median(round)))
			}
		}
		for i, p := range peers {
			conns[i].close()
			x := ratio(medians[i], medians[0])
			if p == ours() {
				results.atMost("keystroke, loopback", p.name, x, 1.2, " x OpenSSH", percentiles(times[i]))
				b.ReportMetric(x, "x-openssh-p50")
			} else {
				results.note("keystroke, loopback", p.name, number(x)+" x OpenSSH", percentiles(times[i]))
			}
		}
	}
}

// BenchmarkKeyBytes is what a keystroke and its echo cost on the wire: bytes of
// IP packets in both directions, acknowledgements included.
func BenchmarkKeyBytes(b *testing.B) {
	const keys = 100
	l := over(b, wan.Shape{Delay: 10 * time.Millisecond})
	for b.Loop() {
		for _, p := range []peer{openSSH(), openSSHPipe(), xNetConn(), ours(), oursHTTP()} {
			c := l.open(p, echoing())
			l.keys(c.channels[0], 10, time.Now().Add(time.Minute))
			before := l.carried()
			times := l.keys(c.channels[0], keys, time.Now().Add(time.Minute))
			carried := l.carried()
			c.close()
			bytes, packets := carried.Bytes-before.Bytes, carried.Packets-before.Packets
			results.note("wire, per keystroke and echo, 20 ms", p.name, number(float64(bytes)/keys)+" bytes",
				fmt.Sprintf("%s packets; %s", number(float64(packets)/keys), percentiles(times)))
		}
	}
}

// carried sums both directions.
func (l *lab) carried() wan.Stats {
	there, back := l.link.Stats()
	return wan.Stats{Packets: there.Packets + back.Packets, Bytes: there.Bytes + back.Bytes}
}

// loaded is a terminal beside four transfers on one connection.
type loaded struct {
	times   []time.Duration
	medians []float64
	rates   []float64       // MB/s of the four together
	counts  transport.Stats // of our stream, the client's side, last round
}

// underLoad adds a round.
func (l *lab) underLoad(into *loaded, p peer, up bool) {
	l.b.Helper()
	const (
		settling = 3 * time.Second
		typing   = 6 * time.Second
	)
	commands := []command{echoing()}
	var files []string
	for range 4 {
		if up {
			command, file := l.sink(-1)
			commands, files = append(commands, command), append(files, file)
		} else {
			commands = append(commands, l.source(-1))
		}
	}
	c := l.open(p, commands...)
	received := &meter{files: files}
	for _, ch := range c.channels[1:] {
		if up {
			go zeros(ch.in, -1)
		} else {
			go received.read(ch)
		}
	}
	settled := time.NewTimer(settling)
	<-settled.C
	before, began := received.total(l), time.Now()
	times := l.keys(c.channels[0], 1000, began.Add(typing))
	rate := float64(received.total(l)-before) / 1e6 / time.Since(began).Seconds()
	into.counts = c.close()
	into.times = append(into.times, times...)
	into.medians = append(into.medians, ms(median(times)))
	into.rates = append(into.rates, rate)
}

// BenchmarkKeysUnderLoad is a keystroke while four transfers fill the link.
func BenchmarkKeysUnderLoad(b *testing.B) {
	l := over(b, fiftyMbit())
	for b.Loop() {
		for _, way := range []string{"down", "up"} {
			var theirs, mine loaded
			for range 3 {
				l.underLoad(&theirs, openSSH(), directions()[way])
				l.underLoad(&mine, ours(), directions()[way])
			}
			about := "keystroke beside four transfers, 50 Mbit/s, 40 ms, " + way
			describe := func(x loaded) string {
				return fmt.Sprintf("%s; transfers %s MB/s", percentiles(x.times), number(median(x.rates)))
			}
			limit := ""
			if counts := mine.counts; directions()[way] {
				limit = fmt.Sprintf("in flight at most %s KiB, least round trip %s ms, %s MB/s",
					number(float64(counts.Limit>>10)), number(ms(counts.MinRTT)), number(counts.Rate/1e6))
			}
			x, rate := ratio(mine.medians, theirs.medians), ratio(mine.rates, theirs.rates)
			results.note(about, "OpenSSH over TCP", number(median(theirs.medians))+" ms", describe(theirs))
			results.atMost(about, "cloudssh, keystroke", x, 0.25, " x OpenSSH", describe(mine))
			results.atLeast(about, "cloudssh, transfers", rate, 0.97, " x OpenSSH", limit)
			b.ReportMetric(x, "x-openssh-keystroke-"+way)
			b.ReportMetric(rate, "x-openssh-rate-"+way)
		}
	}
}
