package serving

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	defaultLogBytes = 4 << 20
	// maxLine is where Cloud Logging ends an entry.
	maxLine = 256 << 10
	// lineCost is what a line takes in memory beside its text, about.
	lineCost = 100
	// keptLogs is how many logs of removed revisions are kept.
	keptLogs = 64
)

// stream is where a line came from.
type stream string

const (
	stdout stream = "stdout"
	stderr stream = "stderr"
	system stream = "system" // the platform itself
)

// A line is one line of a revision's log.
type line struct {
	at        time.Time
	container string // empty: the platform's own
	stream    stream
	text      string
}

func (l line) String() string {
	at := l.at.UTC().Format("2006-01-02T15:04:05.000000Z")
	if l.container == "" {
		return fmt.Sprintf("%s %s: %s", at, l.stream, l.text)
	}
	return fmt.Sprintf("%s %s %s: %s", at, l.container, l.stream, l.text)
}

// A logBuffer keeps the last lines of a revision.
type logBuffer struct {
	limit int

	mu      sync.Mutex
	lines   []line
	first   int // number of lines[0] among all there ever were
	size    int
	ended   bool
	changed chan struct{} // closed and replaced at every change
}

func newLogBuffer(limit int) *logBuffer {
	if limit <= 0 {
		limit = defaultLogBytes
	}
	return &logBuffer{limit: limit, changed: make(chan struct{})}
}

func (b *logBuffer) add(container string, s stream, text string) {
	l := line{time.Now(), container, s, strings.ToValidUTF8(text, "\uFFFD")}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, l)
	b.size += len(l.text) + lineCost
	for b.size > b.limit && len(b.lines) > 1 {
		b.size -= len(b.lines[0].text) + lineCost
		b.lines[0] = line{}
		b.lines = b.lines[1:]
		b.first++
	}
	b.wake()
}

// printf adds a line of the platform's own.
func (b *logBuffer) printf(format string, args ...any) {
	b.add("", system, fmt.Sprintf(format, args...))
}

// end says that nothing follows.
func (b *logBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.wake()
}

func (b *logBuffer) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// since returns the lines from number n on that are still there, the number after the last, whether there will be more,
// and a channel that is closed when that is so.
func (b *logBuffer) since(n int) (lines []line, next int, ended bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	skip := min(max(n-b.first, 0), len(b.lines))
	lines = append(lines, b.lines[skip:]...)
	return lines, b.first + len(b.lines), b.ended, b.changed
}

// copyTo writes the log to w, and with follow what is added to it until ctx ends.
func (b *logBuffer) copyTo(ctx context.Context, w io.Writer, flush func() error, follow bool) error {
	next := 0
	for {
		lines, n, ended, changed := b.since(next)
		next = n
		for _, l := range lines {
			if _, err := fmt.Fprintln(w, l); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *logBuffer) tail(n int) []string {
	lines, _, _, _ := b.since(0) //nolint:dogsled // the rest is for followers
	lines = lines[max(len(lines)-n, 0):]
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.String()
	}
	return out
}

// A lineWriter cuts what a container writes into lines.
type lineWriter struct {
	log       *logBuffer
	container string
	stream    stream

	mu      sync.Mutex
	partial []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	rest := w.partial
	for {
		end := bytes.IndexByte(rest, '\n')
		switch {
		case end >= 0 && end <= maxLine:
			w.add(rest[:end])
			rest = rest[end+1:]
		case len(rest) > maxLine:
			w.add(rest[:maxLine])
			rest = rest[maxLine:]
		default:
			w.partial = append(w.partial[:0], rest...)
			return len(p), nil
		}
	}
}

// flush adds what no line end followed.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.add(w.partial)
	}
	w.partial = nil
}

func (w *lineWriter) add(text []byte) {
	w.log.add(w.container, w.stream, strings.TrimSuffix(string(text), "\r"))
}

// Logs serves the log of a revision as plain text, a line each. With ?follow=1 it goes on until the client leaves or
// the revision is removed. It is there from the start of Deploy on and outlives the revision, until 64 more were removed.
func (f *Fleet) Logs(key Key) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log := f.log(key)
		if log == nil {
			http.Error(w, "no log of "+key.String(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		follow := r.FormValue("follow") == "1"
		// Who reads has left when this fails: there is no one to tell.
		_ = log.copyTo(r.Context(), w, http.NewResponseController(w).Flush, follow)
	})
}

// Tail returns the last n lines of a revision's log, without line ends.
func (f *Fleet) Tail(key Key, n int) []string {
	log := f.log(key)
	if log == nil {
		return nil
	}
	return log.tail(n)
}

func (f *Fleet) log(key Key) *logBuffer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs[key]
}
