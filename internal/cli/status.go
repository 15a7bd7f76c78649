package cli

import (
	"sync"
	"time"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// noticeTime is how long a notice stands on the screen.
const noticeTime = 4 * time.Second

// statusLine is the one line of ours on a screen that belongs to the remote
// program: an outage for as long as it lasts, else a notice for a moment.
type statusLine struct {
	screen *tty.Output
	redraw func() // asks for the screen that our line was drawn over

	mu     sync.Mutex
	lost   string
	notice string
	until  *time.Timer // ends the notice
	shown  bool
	closed bool
}

// outage shows that the connection is gone; empty that it is not.
func (l *statusLine) outage(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = text
	l.draw()
}

// out reports whether an outage is shown.
func (l *statusLine) out() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost != ""
}

// notify shows a text for a moment.
func (l *statusLine) notify(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notice = text
	if l.until != nil {
		l.until.Stop()
	}
	l.until = time.AfterFunc(noticeTime, func() { l.expire(text) })
	l.draw()
}

// expire takes a notice away, unless it was replaced.
func (l *statusLine) expire(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notice == text {
		l.notice = ""
		l.draw()
	}
}

// close takes the line away for good.
func (l *statusLine) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until != nil {
		l.until.Stop()
	}
	l.lost, l.notice = "", ""
	l.draw()
	l.closed = true
}

func (l *statusLine) draw() {
	text := l.lost
	if text == "" {
		text = l.notice
	}
	switch {
	case l.closed:
	case text != "":
		l.screen.Status(text)
		l.shown = true
	case l.shown:
		l.shown = false
		if l.screen.Clear() {
			l.redraw()
		}
	}
}
