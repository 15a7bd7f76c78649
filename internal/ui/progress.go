package ui

import (
	"encoding/json"
	"fmt"
	"time"
)

// Progress announces a step. update replaces the detail behind it; done ends
// it, with an error if it failed, and counts only once. Steps may overlap.
// It has the type of provision.Progress.
func (u *UI) Progress(name string) (update func(detail string), done func(error)) {
	u.mu.Lock()
	u.last++
	s := stepEvent{id: u.last, name: line(name), at: u.now()}
	u.mu.Unlock()
	started := s.at
	emit := u.emitter()
	emit(s)
	ended := false
	update = func(detail string) {
		s := s
		s.detail = line(detail)
		emit(s)
	}
	done = func(err error) {
		u.mu.Lock()
		first := !ended
		ended = true
		s := s
		s.took = u.now().Sub(started)
		u.mu.Unlock()
		if first {
			s.done, s.err = true, err
			emit(s)
		}
	}
	return update, done
}

// stepEvent is a change of one step.
type stepEvent struct {
	id     int
	name   string
	at     time.Time // when it began
	detail string
	done   bool
	err    error
	took   time.Duration
}

// emitter returns what shows a change in the UI's format.
func (u *UI) emitter() func(stepEvent) {
	switch u.format {
	case Quiet:
		return func(stepEvent) {}
	case JSON:
		return u.jsonStep
	case Plain:
		return u.plainStep
	}
	return u.liveStep
}

// Settle ends the live view and replaces the finished steps by one line, or
// by none if final is empty; failed ones stay. Steps that still run are not
// shown any more. When it returns nothing moves on the screen: it belongs
// before raw mode and before the end of the process. It may be called at any
// time, any number of times.
func (u *UI) Settle(final string) {
	if u.format == JSON {
		if final != "" {
			u.event(event{Event: "note", Message: final})
		}
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.breakLine()
	if final = line(final); u.format == Quiet {
		final = ""
	}
	if l := u.live; l != nil {
		u.live = nil
		if l.settle(final) {
			return
		}
	}
	if final != "" {
		u.print(u.mark(true) + " " + final + "\n")
	}
}

func (u *UI) mark(ok bool) string {
	switch {
	case u.format == Plain:
		return "•"
	case ok:
		return u.style.good("✓")
	}
	return u.style.bad("✗")
}

// plainStep writes `• step ... done (1.2s)`. The line is begun when the step
// begins, so that a log shows what is being waited for, and is begun anew if
// something came between.
func (u *UI) plainStep(s stepEvent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	begin := "• " + s.name + " ..."
	switch {
	case s.done:
		result := "done"
		if s.err != nil {
			result = "failed"
		}
		if u.open != s.id {
			u.breakLine()
			u.print(begin)
		}
		u.open = 0
		u.print(fmt.Sprintf(" %s (%s)\n", result, seconds(s.took)))
	case s.detail != "":
		u.breakLine()
		u.print(fmt.Sprintf("  %s: %s\n", s.name, s.detail))
	default:
		u.breakLine()
		u.print(begin)
		u.open = s.id
	}
}

// breakLine ends a line that a plain step has begun. u.mu is held.
func (u *UI) breakLine() {
	if u.open != 0 {
		u.open = 0
		u.print("\n")
	}
}

// seconds writes a duration the way a person reads it: 0.03s, 12.0s, 2m05s.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
}

// event is one line of the JSON format.
type event struct {
	Event   string   `json:"event"` // step, note, warning, error
	Time    string   `json:"time"`
	ID      int      `json:"id,omitempty"`
	Step    string   `json:"step,omitempty"`
	State   string   `json:"state,omitempty"` // running, done, failed
	Detail  string   `json:"detail,omitempty"`
	Seconds float64  `json:"seconds,omitempty"`
	Message string   `json:"message,omitempty"`
	Hints   []string `json:"hints,omitempty"`
}

func (u *UI) jsonStep(s stepEvent) {
	e := event{Event: "step", ID: s.id, Step: s.name, State: "running", Detail: s.detail}
	if s.done {
		e.State, e.Seconds = "done", s.took.Seconds()
		if s.err != nil {
			e.State, e.Message = "failed", s.err.Error()
		}
	}
	u.event(e)
}

func (u *UI) event(e event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e.Time = u.now().UTC().Format(time.RFC3339Nano)
	_ = json.NewEncoder(u.out).Encode(e) // nobody is left to tell
}
