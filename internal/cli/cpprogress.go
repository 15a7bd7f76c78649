package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloudssh/cloudssh/internal/transfer"
)

// progressEvery is how often the picture of a copy changes.
const progressEvery = 200 * time.Millisecond

// copyProgress shows how far a copy is.
type copyProgress struct {
	progress transfer.Progress
	done     func(error)
	stop     chan struct{}
	stopped  chan struct{}
}

// showProgress begins the step of a copy. Only where it can be animated its
// details are shown.
func (a *app) showProgress(title string) *copyProgress {
	update, done := a.ui.Progress(title)
	p := &copyProgress{done: done, stop: make(chan struct{}), stopped: make(chan struct{})}
	if !a.ui.Animated() {
		close(p.stopped)
		return p
	}
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		rate := &rate{}
		for {
			select {
			case <-p.stop:
				return
			case now := <-tick.C:
				s := p.progress.Look()
				update(picture(s, rate.of(s.Bytes-s.Resumed, now)))
			}
		}
	}()
	return p
}

// end ends the step.
func (p *copyProgress) end(err error) {
	close(p.stop)
	<-p.stopped
	p.done(err)
}

// rateSamples is how many of the last moments a rate is taken from.
const rateSamples = 15

// rate is how fast a count grows.
type rate struct {
	at    [rateSamples]time.Time
	bytes [rateSamples]int64
	n     int
}

// of returns the rate in bytes a second, over the last seconds.
func (r *rate) of(bytes int64, now time.Time) float64 {
	last := r.n % rateSamples
	oldest := 0
	if r.n >= rateSamples {
		oldest = last // about to be replaced
	}
	began, had := r.at[oldest], r.bytes[oldest]
	first := r.n == 0
	r.at[last], r.bytes[last] = now, bytes
	r.n++
	if took := now.Sub(began).Seconds(); !first && took > 0 {
		return float64(bytes-had) / took
	}
	return 0
}

// picture is the state of a copy in a line: bar, bytes, rate, time left, files.
func picture(s transfer.State, rate float64) string {
	var parts []string
	if s.Listed && s.AllBytes > 0 {
		done := min(max(float64(s.Bytes)/float64(s.AllBytes), 0), 1)
		const width = 20
		full := int(done * width)
		parts = append(parts, fmt.Sprintf("[%s%s] %3.0f%%", strings.Repeat("=", full), strings.Repeat(".", width-full), done*100))
	}
	size := bytesOf(s.Bytes)
	if s.AllBytes > 0 {
		size += " of " + bytesOf(s.AllBytes)
		if !s.Listed {
			size += "+"
		}
	}
	parts = append(parts, size, bytesOf(int64(rate))+"/s")
	if left := s.AllBytes - s.Bytes; s.Listed && rate > 1 && left > 0 {
		if eta := time.Duration(float64(left) / rate * float64(time.Second)); eta < 100*time.Hour {
			parts = append(parts, "ETA "+short(eta))
		}
	}
	if s.AllFiles > 1 {
		more := ""
		if !s.Listed {
			more = "+"
		}
		parts = append(parts, fmt.Sprintf("file %d of %d%s", min(s.Files+1, s.AllFiles), s.AllFiles, more))
	}
	if s.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", s.Failed))
	}
	return strings.Join(append(parts, s.Current), " ")
}

// bytesOf is an amount of bytes as people read it.
func bytesOf(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	amount, unit := float64(n)/1024, 0
	for ; amount >= 1023.95 && unit < 4; unit++ {
		amount /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", amount, "KMGTP"[unit])
}

// summary says what was copied.
func summary(r transfer.Report, took time.Duration) string {
	var what []string
	add := func(n int64, one, many string) {
		switch {
		case n == 1:
			what = append(what, "1 "+one)
		case n > 1:
			what = append(what, fmt.Sprintf("%d %s", n, many))
		}
	}
	add(r.Files, "file", "files")
	add(r.Links, "link", "links")
	add(r.Dirs, "directory", "directories")
	if len(what) == 0 {
		return "copied nothing"
	}
	text := fmt.Sprintf("copied %s, %s in %.1fs", strings.Join(what, ", "), bytesOf(r.Bytes), took.Seconds())
	if seconds := took.Seconds(); seconds >= 0.1 && r.Moved > 0 {
		text += fmt.Sprintf(" (%s/s)", bytesOf(int64(float64(r.Moved)/seconds)))
	}
	if r.Moved < r.Bytes {
		text += fmt.Sprintf("; %s were there already", bytesOf(r.Bytes-r.Moved))
	}
	return text
}
