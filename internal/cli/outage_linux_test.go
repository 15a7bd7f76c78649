package cli_test

import (
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestOutageOnTheScreen: the line that tells of an outage goes away again, and
// the screen is as it would have been without.
func TestOutageOnTheScreen(t *testing.T) {
	t.Parallel()
	s := newStage()
	w := newWorld(t, emulator.Options{Faults: s.faults()})
	network := s.lay("hello", w.Addr)
	m := w.terminal(t, "hello")
	m.shows("# ")
	// The agent does not know the lines above; the last row is not empty.
	m.types(`PS1=; printf '\0337\033[24;1Hthe last row\0338'; echo do''ne` + "\r")
	m.sees("the picture", func(s string) bool { return strings.Contains(s, "\nthe last row") && strings.Contains(s, "\ndone") })
	before := m.contents()
	heard := network.stop()
	m.types("x")
	<-heard
	network.cut()
	m.sees("the outage", func(s string) bool {
		return strings.Contains(s, "no connection for") && !strings.Contains(s, "\nthe last row")
	})
	network.start()
	m.told("connected again after")
	m.sees("the key, and no line of ours", func(s string) bool { return strings.Replace(s, "\nx", "\n ", 1) == before })

	m.types("\x15exit\r")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.demandOnly(t, "hello")
}

// contents is what stands on the screen.
func (m *terminal) contents() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.screen.String()
}
