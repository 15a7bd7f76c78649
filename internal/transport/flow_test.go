package transport

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A bottleneck is a wire to itself: what is written comes out at a rate, after
// a delay, and waits before in a queue.
type bottleneck struct {
	wire // the one that is slowed

	rate  float64 // bytes per second
	delay time.Duration
	queue chan packet
	once  sync.Once
	done  chan struct{}

	mu   sync.Mutex
	free time.Time // when the bottleneck has sent all that is in the queue
	peak time.Duration
}

type packet struct {
	data []byte
	at   time.Time
}

func (b *bottleneck) write(frames ...[]byte) error {
	for _, f := range frames {
		b.mu.Lock()
		now := time.Now()
		if b.free.Before(now) {
			b.free = now
		}
		b.free = b.free.Add(time.Duration(float64(len(f)) / b.rate * 1e9))
		b.peak = max(b.peak, b.free.Sub(now))
		at := b.free.Add(b.delay)
		b.mu.Unlock()
		select {
		case b.queue <- packet{append([]byte(nil), f...), at}:
		case <-b.done:
			return io.ErrClosedPipe
		}
	}
	return nil
}

// longest is how long the queue has been at most.
func (b *bottleneck) longest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

func (b *bottleneck) read() ([]byte, error) {
	select {
	case p := <-b.queue:
		select {
		case <-time.After(time.Until(p.at)):
			return p.data, nil
		case <-b.done:
			return nil, io.EOF
		}
	case <-b.done:
		return nil, io.EOF
	}
}

func (b *bottleneck) close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

// A duplex reads from one bottleneck and writes to another.
type duplex struct{ in, out *bottleneck }

func (d duplex) read() ([]byte, error)   { return d.in.read() }
func (d duplex) write(f ...[]byte) error { return d.out.write(f...) }
func (d duplex) name() string            { return "test" }
func (d duplex) close() error {
	d.in.close()
	return d.out.close()
}

// slowPath is a stream over a path of a rate (bytes per second) and a round
// trip. It must be inside synctest.Test.
func slowPath(t *testing.T, rate float64, rtt time.Duration) (client, server *stream, up, down *bottleneck) {
	t.Helper()
	make1 := func() *bottleneck {
		return &bottleneck{rate: rate, delay: rtt / 2, queue: make(chan packet, 100000), done: make(chan struct{})}
	}
	up, down = make1(), make1()
	var ends [2]*stream
	for i, d := range []duplex{{in: down, out: up}, {in: up, out: down}} {
		s := newStream(addr("a"), addr("b"))
		s.mu.Lock()
		l := newLink(s, d)
		l.life.client = i == 0
		s.resume(0, 0, maxWindow)
		s.mu.Unlock()
		go l.run()
		ends[i] = s
	}
	t.Cleanup(func() {
		ends[0].Abort()
		ends[1].Abort()
		up.close()
		down.close()
	})
	return ends[0], ends[1], up, down
}

// A transfer fills the path, and makes no queue worth more than a round trip or
// two in it.
func TestFlowFillsThePath(t *testing.T) {
	for name, tt := range map[string]struct {
		mbits float64
		rtt   time.Duration
		total int
		// share is the least of the rate that must be used, queue the longest
		// that may be made.
		share float64
		queue time.Duration
	}{
		"50 Mbit/s, 40 ms":   {50, 40 * time.Millisecond, 50 << 20, 0.97, 100 * time.Millisecond},
		"500 Mbit/s, 100 ms": {500, 100 * time.Millisecond, 128 << 20, 0.65, 220 * time.Millisecond},
		"5 Mbit/s, 20 ms":    {5, 20 * time.Millisecond, 10 << 20, 0.97, 250 * time.Millisecond},
		"1 Gbit/s, 1 ms":     {1000, time.Millisecond, 32 << 20, 0.9, 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate := tt.mbits * 1e6 / 8
				client, server, up, _ := slowPath(t, rate, tt.rtt)
				synctest.Wait()
				began := time.Now()
				go client.Write(make([]byte, tt.total))
				buf := make([]byte, 64<<10)
				for left := tt.total; left > 0; {
					n, err := server.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					left -= n
				}
				got := float64(tt.total) / time.Since(began).Seconds()
				peak := up.longest()
				t.Logf("%.1f %% of the rate, longest queue %s", got/rate*100, peak)
				if got < tt.share*rate {
					t.Errorf("%.1f %% of the rate was used", got/rate*100)
				}
				if peak > tt.queue {
					t.Errorf("the queue was up to %s long", peak)
				}
			})
		})
	}
}

// A path that becomes longer is found out about: the least round trip is
// measured again, with the queue run dry.
func TestFlowMeasuresAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, up, down := slowPath(t, 50e6/8, 10*time.Millisecond)
		go io.Copy(io.Discard, server)
		go func() {
			for {
				if _, err := client.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}()
		pass(10 * time.Second)
		for _, b := range []*bottleneck{up, down} {
			b.mu.Lock()
			b.delay = 50 * time.Millisecond
			b.mu.Unlock()
		}
		pass(3 * rttLifetime)
		client.mu.Lock()
		got := client.link.flow.minRTT
		client.mu.Unlock()
		if got < 100*time.Millisecond || got > 150*time.Millisecond {
			t.Errorf("the least round trip counts as %s", got)
		}
	})
}
