package transport

import "time"

const (
	// maxWindow is how many bytes each way may wait to be read: what a path of
	// 100 ms and 640 Mbit/s holds.
	maxWindow = 8 << 20
	// minWindow is the least a peer may offer: a full frame must fit.
	minWindow = 64 << 10
	// minLimit is the least limit on what is in flight.
	minLimit = 128 << 10
	// probeLimit is the limit while the round trip is measured: so little that
	// it makes no queue worth speaking of.
	probeLimit = 32 << 10
	// rttLifetime is how long the least round trip is believed. After it the
	// queue that we may have built ourselves is let run dry, once.
	rttLifetime = 20 * time.Second
	// fullGain is how much more than the path holds may be in flight: enough
	// for acknowledgements that come late, and for a path that has become
	// faster. Before, while the rate still grows, it is startGain. A path is
	// full after fullAfter rounds in which the rate grew by less than growth.
	fullGain  = 1.75
	startGain = 3.0
	growth    = 1.25
	fullAfter = 3
	// slack is added to the least round trip, for the time goroutines wait for
	// each other: on loopback they are the path.
	slack = 500 * time.Microsecond
	// minRound is the shortest time over which a rate is measured.
	minRound = time.Millisecond
	// rounds is for how many of them the best rate counts.
	rounds = 10
	// slowRate is the rate below which frames are short.
	slowRate = 20e6 / 8
	// quickRate is the rate from which on processor time counts for more than
	// the milliseconds that a keystroke waits for maxUnsent; below it is
	// slowUnsent.
	quickRate  = 10e6
	slowUnsent = 40 << 10
	// slowPayload is how much of a stream a frame carries then.
	slowPayload = 16 << 10
)

// A flow estimates what a path carries, and limits what is in flight to not
// much more (as TCP's BBR does, in small): the path stays full and its queues
// short, so that a keystroke does not wait behind megabytes of a transfer.
//
// Acknowledgements say what the peer has consumed, so a peer that reads slowly
// counts as a slow path, and less waits for it. The stream's mutex guards it.
type flow struct {
	minRTT  time.Duration // least round trip in its lifetime; 0: not known
	lastRTT time.Duration
	rttAt   time.Time // when minRTT was measured
	probing bool      // in flight is being let fall to probeLimit
	asked   bool      // a PING is under way whose answer ends the probing

	rates   [rounds]float64 // of the last rounds, bytes per second
	round   int
	began   time.Time     // of the round now
	from    uint64        // acknowledged at its begin
	before  time.Duration // how long the round before took
	flat    int           // rounds since the rate grew
	until   uint64        // sent at its begin: acknowledged, it is over
	starved bool          // in it there was too little to send to measure anything
}

// acked notes that bytes were acknowledged.
func (f *flow) acked(now time.Time, acked, sent uint64) {
	if f.began.IsZero() {
		f.begin(now, acked, sent)
		return
	}
	took := now.Sub(f.began)
	if acked < f.until || took < max(minRound, f.minRTT) {
		return
	}
	before := f.before
	f.before = took
	if f.full() {
		// What this round acknowledged was sent during the one before. If that
		// took longer, acknowledgements waited somewhere and came in a burst.
		took = max(took, before)
	}
	rate := float64(acked-f.from) / took.Seconds()
	if best := f.rate(); !f.starved || rate > best {
		f.flat++
		if rate > growth*best {
			f.flat = 0
		}
		f.rates[f.round%rounds] = rate
		f.round++
	}
	f.begin(now, acked, sent)
}

func (f *flow) begin(now time.Time, acked, sent uint64) {
	f.began, f.from, f.until, f.starved = now, acked, sent, acked == sent
}

// idle notes that there is less to send than might be.
func (f *flow) idle() { f.starved = true }

// rtt notes the answer to a PING.
func (f *flow) rtt(now time.Time, d time.Duration) {
	f.lastRTT = d
	if f.minRTT == 0 || d <= f.minRTT || f.asked {
		f.minRTT, f.rttAt = max(d, 1), now
	}
	if f.asked {
		f.probing, f.asked = false, false
	}
}

// full says whether there is no more to be had from the path.
func (f *flow) full() bool { return f.flat >= fullAfter }

// rate is the best of the last rounds' rates, in bytes per second.
func (f *flow) rate() float64 {
	best := 0.0
	for _, r := range f.rates {
		best = max(best, r)
	}
	return best
}

// limit is how many bytes may be in flight.
func (f *flow) limit() uint64 {
	if f.probing {
		return probeLimit
	}
	path := f.rate() * (f.minRTT + slack).Seconds()
	gain := startGain
	if f.full() {
		gain = fullGain
	}
	return uint64(min(max(gain*path, minLimit), maxWindow))
}

// wantsProbe says whether the least round trip is too old to be believed.
func (f *flow) wantsProbe(now time.Time) bool {
	return f.minRTT > 0 && !f.probing && now.Sub(f.rttAt) > rttLifetime
}

// unsent is how much Write may take ahead of the network: a keystroke has to
// wait for what is there.
func (f *flow) unsent() int {
	if rate := f.rate(); rate > 0 && rate < quickRate {
		return slowUnsent
	}
	return maxUnsent
}

// payload is how much a DATA frame carries.
func (f *flow) payload() int {
	if f.rate() < slowRate {
		return slowPayload
	}
	return maxPayload
}
