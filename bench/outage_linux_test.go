package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/bench/wan"
)

// BenchmarkRollOver types while the stream moves from one request to the next,
// as it does before the platform cuts the first.
func BenchmarkRollOver(b *testing.B) {
	const (
		rtt     = 50 * time.Millisecond
		request = 2500 * time.Millisecond
		typing  = 6 * time.Second
	)
	l := newLab(b)
	l.timeout = request
	l.connect(wan.Shape{Delay: rtt / 2})
	l.serve()
	for b.Loop() {
		var worst, usual []float64
		var all []time.Duration
		resumes := 0
		for range 3 {
			c := l.open(ours(), echoing())
			times := l.keys(c.channels[0], 10000, time.Now().Add(typing))
			counts := c.close()
			if counts.Resumes == 0 {
				b.Fatalf("the stream did not move within %s, with requests of %s", typing, request)
			}
			resumes += counts.Resumes
			all = append(all, times...)
			usual = append(usual, ms(median(times)))
			worst = append(worst, ms(quantile(times, 100)))
		}
		results.atMost("roll-over, 50 ms", "worst keystroke", median(worst), median(usual)+ms(rtt)+10, " ms",
			fmt.Sprintf("%d roll-overs; %s", resumes, percentiles(all)))
		b.ReportMetric(median(worst), "ms-worst")
	}
}

// BenchmarkBlackHole is how long after an outage the first echo comes. All
// outages are at the same time, each on a link of its own.
func BenchmarkBlackHole(b *testing.B) {
	holes := []time.Duration{10 * time.Second, 25 * time.Second}
	for b.Loop() {
		var found sync.WaitGroup
		for _, hole := range holes {
			l := over(b, wan.Shape{Delay: 25 * time.Millisecond})
			peers := []peer{openSSH(), ours(), ours(), ours()}
			late := make([]time.Duration, len(peers))
			var conns []*conn
			for _, p := range peers {
				c := l.open(p, echoing())
				l.keys(c.channels[0], 5, time.Now().Add(time.Minute))
				conns = append(conns, c)
			}
			found.Go(func() {
				l.outage(hole, conns, late)
				about := fmt.Sprintf("first echo after %s without a network, 50 ms", hole)
				results.note(about, "OpenSSH over TCP", number(late[0].Seconds())+" s", "")
				results.atMost(about, "cloudssh", median(late[1:]).Seconds(), 1, " s",
					fmt.Sprintf("worst of three %s s", number(quantile(late[1:], 100).Seconds())))
			})
		}
		found.Wait()
	}
}

// outage types all the while, and notes how long after it the first echo came.
func (l *lab) outage(hole time.Duration, conns []*conn, late []time.Duration) {
	l.link.SetHole(true)
	end := time.NewTimer(hole)
	stop := make(chan struct{})
	var typing, waiting sync.WaitGroup
	came := make([]time.Time, len(conns))
	for i, c := range conns {
		ch := c.channels[0]
		typing.Go(func() { ch.typeUntil(stop) })
		waiting.Go(func() {
			ch.out.SetReadDeadline(time.Now().Add(hole + 2*time.Minute))
			if _, err := ch.out.Read(make([]byte, 1)); err != nil {
				l.b.Errorf("no echo after %s: %v", hole, err)
			}
			came[i] = time.Now()
		})
	}
	<-end.C
	back := time.Now()
	l.link.SetHole(false)
	waiting.Wait()
	close(stop)
	typing.Wait()
	for i, c := range conns {
		late[i] = came[i].Sub(back)
		c.close()
	}
}

// typeUntil types as somebody who wonders what happened.
func (ch *channel) typeUntil(stop <-chan struct{}) {
	tick := time.NewTicker(700 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := ch.in.WriteString("k"); err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
