package e2e

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is what a program says, for those who wait for it.
type watched struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return w.buf.Write(p)
}

func (w *watched) String() string {
	text, _ := w.look()
	return text
}

// look returns what was said and a channel that closes when there is more.
func (w *watched) look() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.buf.String(), w.changed
}

// await ends the test unless the text is said in time.
func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		said, more := w.look()
		if strings.Contains(said, text) {
			return
		}
		select {
		case <-more:
		case <-limit.C:
			t.Fatalf("%q was not said, but: %s", text, clip(said))
		}
	}
}

// forget drops what was said.
func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Reset()
}
