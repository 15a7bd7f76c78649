package runtime

import (
	"strings"
	"sync"
	"testing"
)

// A lineWaiter is an io.Writer that a test can wait on.
type lineWaiter struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    strings.Builder
}

func newLineWaiter() *lineWaiter {
	w := &lineWaiter{}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *lineWaiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Broadcast()
	return w.text.Write(p)
}

func (w *lineWaiter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// wait returns when the text was written; it is the test's timeout that ends it otherwise.
func (w *lineWaiter) wait(t *testing.T, text string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), text) {
		w.changed.Wait()
	}
}
