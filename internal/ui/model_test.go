package ui

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

func update[M tea.Model](t *testing.T, m M, msgs ...tea.Msg) M {
	t.Helper()
	for _, msg := range msgs {
		next, _ := m.Update(msg)
		var ok bool
		if m, ok = next.(M); !ok {
			t.Fatalf("the model became a %T", next)
		}
	}
	return m
}

func lines(view string) []string {
	var out []string
	for l := range strings.Lines(view) {
		out = append(out, strings.TrimRight(l, "\n"))
	}
	return out
}

func TestLiveView(t *testing.T) {
	c := &clock{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	m := newLiveModel(newStyle(nil, false), c.now, nil)
	begin := c.t
	c.advance(3 * time.Second)
	m = update(t, m,
		stepEvent{id: 1, name: "reading", at: begin},
		stepEvent{id: 2, name: "creating", at: begin},
		stepEvent{id: 3, name: "pushing", at: begin},
		stepEvent{id: 2, name: "creating", at: begin, detail: "RoutesReady"},
		stepEvent{id: 1, name: "reading", at: begin, done: true, took: time.Second},
		stepEvent{id: 3, name: "pushing", at: begin, done: true, err: errors.New("no"), took: time.Second},
	)
	got := lines(m.View())
	if len(got) != 3 || got[0] != "✓ reading (1.0s)" || !strings.HasSuffix(got[1], " creating (3.0s) RoutesReady") || got[2] != "✗ pushing (1.0s)" {
		t.Errorf("got %q", got)
	}
	m = update(t, m, tea.WindowSizeMsg{Width: 14, Height: 5})
	for _, l := range lines(m.View()) {
		if n := len([]rune(l)); n > 14 {
			t.Errorf("%q is wider than the terminal", l)
		}
	}
	m = update(t, m, tea.WindowSizeMsg{Width: 80, Height: 5}, finalMsg("ready"))
	if got := m.View(); got != "✗ pushing (1.0s)\n✓ ready\n" {
		t.Errorf("settled as %q", got)
	}
}

func keys(s string) []tea.Msg {
	var msgs []tea.Msg
	for _, r := range s {
		msgs = append(msgs, tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
	return msgs
}

func press(k tea.KeyType) tea.Msg { return tea.KeyMsg{Type: k} }

func TestPickModel(t *testing.T) {
	entries := []entry{{0, "hello", "us-central1"}, {1, "world", "europe-west1"}, {2, "worker-jk", "us-east1"}}
	for _, tt := range []struct {
		name string
		msgs []tea.Msg
		want int
		over bool
	}{
		{"enter takes the first", []tea.Msg{press(tea.KeyEnter)}, 0, true},
		{"down", []tea.Msg{press(tea.KeyDown), press(tea.KeyEnter)}, 1, true},
		{"up stops at the top", []tea.Msg{press(tea.KeyUp), press(tea.KeyEnter)}, 0, true},
		{"filter", append(keys("wor"), press(tea.KeyDown), press(tea.KeyEnter)), 2, true},
		{"filter by the detail", append(keys("europe"), press(tea.KeyEnter)), 1, true},
		{"letters that move elsewhere", append(keys("jk"), press(tea.KeyEnter)), 2, true},
		{"q is a letter", keys("q"), -1, false},
		{"nothing matches", append(keys("zzz"), press(tea.KeyEnter)), -1, false},
		{"backspace", append(keys("helx"), press(tea.KeyBackspace), press(tea.KeyEnter)), 0, true},
		{"clear", append(keys("zzz"), press(tea.KeyCtrlU), press(tea.KeyEnter)), 0, true},
		{"escape clears first", append(keys("zzz"), press(tea.KeyEsc)), -1, false},
		{"escape leaves", []tea.Msg{press(tea.KeyEsc)}, -1, true},
		{"ctrl-c leaves", append(keys("h"), press(tea.KeyCtrlC)), -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := update(t, newPickModel(newStyle(nil, false), "Which service?", entries), tt.msgs...)
			if m.chosen != tt.want || m.over != tt.over {
				t.Errorf("chose %d, over %v; want %d, %v", m.chosen, m.over, tt.want, tt.over)
			}
		})
	}
}

func TestPickView(t *testing.T) {
	entries := []entry{{0, "hello", "us-central1"}, {1, "a-longer-one", ""}}
	m := newPickModel(newStyle(nil, false), "Which service?", entries)
	got := lines(m.View())
	want := []string{"Which service? ▏", "> hello         us-central1", "  a-longer-one"}
	if len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || !strings.Contains(got[3], "esc to leave") {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := update(t, m, keys("zz")...).View(); !strings.Contains(got, "Which service? zz▏\n  nothing matches\n") {
		t.Errorf("got %q", got)
	}
	if got := update(t, m, press(tea.KeyEsc)).View(); got != "" {
		t.Errorf("leaves %q on the screen", got)
	}
	var many []entry
	for i := range 100 {
		many = append(many, entry{i, strings.Repeat("x", 200), ""})
	}
	m = update(t, newPickModel(newStyle(nil, false), "Which?", many), tea.WindowSizeMsg{Width: 40, Height: 8})
	if n := len(lines(m.View())); n > 8 {
		t.Errorf("%d lines in a terminal of 8", n)
	}
}
