package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/spinner"
	tea "github.com/charmbracelet/bubbletea"
)

// live is a running view of steps. Its events have a channel of their own:
// bubbletea's Send blocks for ever on a program that could not start.
type live struct {
	events chan tea.Msg
	done   chan struct{} // closed when the program has left the screen
}

type (
	noteMsg  string // a line to print above the steps
	finalMsg string // ends the view, and is its last line
)

// liveStep shows a change of a step, starting the view if need be.
func (u *UI) liveStep(s stepEvent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live == nil {
		if s.done || s.detail != "" {
			return // of a view that was settled
		}
		u.live = u.startLive()
	}
	u.live.send(s)
}

// startLive starts the view. The terminal stays as it is: without input
// bubbletea does not make it raw, and Ctrl-C remains a signal to the process.
func (u *UI) startLive() *live {
	l := &live{events: make(chan tea.Msg), done: make(chan struct{})}
	m := newLiveModel(u.style, u.now, l.events)
	m.width, _ = u.size()
	p := tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(u.out),
		tea.WithoutSignalHandler(), tea.WithoutBracketedPaste())
	go func() {
		defer close(l.done)
		_, _ = p.Run() // without a view the work goes on
	}()
	return l
}

// send delivers an event; false if the view has ended.
func (l *live) send(m tea.Msg) bool {
	select {
	case l.events <- m:
		return true
	case <-l.done:
		return false
	}
}

// settle ends the view and waits until it has left the screen.
func (l *live) settle(final string) bool {
	sent := l.send(finalMsg(final))
	<-l.done
	return sent
}

// liveModel is the steps as bubbletea sees them.
type liveModel struct {
	style   style
	now     func() time.Time
	events  <-chan tea.Msg
	spinner spinner.Model
	width   int
	steps   []stepEvent
	settled bool
	final   string
}

func newLiveModel(st style, now func() time.Time, events <-chan tea.Msg) liveModel {
	return liveModel{style: st, now: now, events: events, spinner: spinner.New(spinner.WithSpinner(spinner.MiniDot))}
}

func (m liveModel) Init() tea.Cmd { return tea.Batch(m.spinner.Tick, m.next()) }

// next waits for one event; the next one is awaited when this one was dealt
// with, so they stay in their order.
func (m liveModel) next() tea.Cmd {
	return func() tea.Msg { return <-m.events }
}

func (m liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		if msg.Width > 0 {
			m.width = msg.Width
		}
		return m, nil
	case stepEvent:
		m.steps = m.with(msg)
		return m, m.next()
	case noteMsg:
		return m, tea.Sequence(tea.Println(string(msg)), m.next())
	case finalMsg:
		m.settled, m.final = true, string(msg)
		return m, tea.Quit
	}
	var cmd tea.Cmd
	m.spinner, cmd = m.spinner.Update(msg)
	return m, cmd
}

// with returns the steps with s added, or put in its place.
func (m liveModel) with(s stepEvent) []stepEvent {
	steps := append([]stepEvent(nil), m.steps...)
	for i := range steps {
		if steps[i].id == s.id {
			if s.done {
				s.detail = ""
			}
			steps[i] = s
			return steps
		}
	}
	return append(steps, s)
}

func (m liveModel) View() string {
	var b strings.Builder
	for _, s := range m.steps {
		if m.settled && s.err == nil {
			continue
		}
		b.WriteString(m.cut(m.step(s)) + "\n")
	}
	if m.settled && m.final != "" {
		b.WriteString(m.cut(m.style.good("✓")+" "+m.final) + "\n")
	}
	return b.String()
}

func (m liveModel) step(s stepEvent) string {
	switch {
	case s.err != nil:
		return fmt.Sprintf("%s %s %s", m.style.bad("✗"), s.name, m.style.dim("("+seconds(s.took)+")"))
	case s.done:
		return fmt.Sprintf("%s %s %s", m.style.good("✓"), s.name, m.style.dim("("+seconds(s.took)+")"))
	}
	text := fmt.Sprintf("%s %s %s", m.spinner.View(), s.name, m.style.dim("("+seconds(m.now().Sub(s.at))+")"))
	if s.detail != "" {
		text += " " + m.style.dim(s.detail)
	}
	return text
}

// cut keeps a line from wrapping, which would upset redrawing.
func (m liveModel) cut(text string) string {
	if m.width <= 0 {
		return text
	}
	return m.style.renderer.NewStyle().MaxWidth(m.width).Render(text)
}
