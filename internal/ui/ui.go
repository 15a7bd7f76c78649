// Package ui is what a person sees while cloudssh works: progress, pickers,
// questions and errors, on a terminal or without one.
package ui

// The rules of this package:
//
//   - All of it goes to one stream, standard error as a rule. Results are not
//     its business: they go to standard output, by Table or WriteJSON.
//   - Errors are one line, `error: ...`, without a capital and without a full
//     stop. What to try next follows in lines of its own, `  hint: ...`: a
//     command to copy, or a sentence.
//   - Notes stand as they are, warnings begin with `warning: `.
//   - Only a terminal is animated, coloured or asked, and no colour is the only
//     bearer of a meaning. NO_COLOR (https://no-color.org) switches colour off.
//   - Nothing that moves is left behind: after Settle the screen holds whole
//     lines and the cursor is visible.
//   - Text from elsewhere (messages of the platform, logs of containers) is
//     shown without its control characters.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"

	"github.com/cloudssh/cloudssh/internal/ui/noquery"
)

// See package noquery: bubbletea is initialised by now.
var _ = noquery.Done()

// ErrCancelled is returned when the person left a picker or a question.
var ErrCancelled = errors.New("cancelled")

// errNobody is returned when there is no person to ask.
var errNobody = errors.New("there is no terminal to ask on")

// Format is how progress is written.
type Format int

// The formats.
const (
	Auto  Format = iota // animated on a terminal, else Plain
	Plain               // lines
	JSON                // one JSON object a line, errors and notes too
	Quiet               // nothing; errors, warnings and questions still appear
)

// Options says how to talk to the person.
type Options struct {
	Format  Format
	NoColor bool // NO_COLOR or its like
}

// UI talks to the person. Its methods may be called from several goroutines.
type UI struct {
	in  *os.File // nil: nobody to ask
	out io.Writer

	format   Format // Auto is resolved: it means the live view
	terminal bool
	style    style
	now      func() time.Time

	mu   sync.Mutex
	last int   // number of the newest step
	open int   // step whose line is begun in plain format; 0 for none
	live *live // nil when nothing moves
}

// New returns a UI that reads answers from in and writes to out. It animates
// if out is a terminal, and asks if both are. in may be nil.
func New(in *os.File, out io.Writer, o Options) *UI {
	u := &UI{out: out, format: o.Format, now: time.Now}
	u.terminal = isTerminal(out) && os.Getenv("TERM") != "dumb"
	if u.terminal && in != nil && isTerminal(in) {
		u.in = in
	}
	if u.format == Auto && !u.terminal {
		u.format = Plain
	}
	u.style = newStyle(out, u.terminal && !o.NoColor)
	return u
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && f != nil && term.IsTerminal(int(f.Fd()))
}

// size is the terminal's. bubbletea learns it too, but may draw first, and a
// line that wraps then upsets all later drawing.
func (u *UI) size() (cols, rows int) {
	if f, ok := u.out.(*os.File); ok {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 && rows > 0 {
			return cols, rows
		}
	}
	return 80, 24 // as every program assumes
}

// Interactive says whether there is a person to ask.
func (u *UI) Interactive() bool { return u.in != nil }

// Animated says whether steps are shown as they change, so that an update
// costs no line.
func (u *UI) Animated() bool { return u.format == Auto }

// Notef writes one line, above the live view if there is one.
func (u *UI) Notef(format string, args ...any) {
	if u.format != Quiet {
		u.say("note", "", fmt.Sprintf(format, args...))
	}
}

// Warnf is Notef for what the person should not miss.
func (u *UI) Warnf(format string, args ...any) {
	u.say("warning", u.style.warn("warning:")+" ", fmt.Sprintf(format, args...))
}

// Error writes an error and the hints that it carries, and settles the live
// view first. An error that joins several is written as several lines.
func (u *UI) Error(err error) {
	if err != nil {
		u.Errorf(Hints(err), "%v", err)
	}
}

// Errorf is Error with the text and the hints given.
func (u *UI) Errorf(hints []string, format string, args ...any) {
	u.Settle("")
	text := fmt.Sprintf(format, args...)
	if u.format == JSON {
		u.event(event{Event: "error", Message: text, Hints: hints})
		return
	}
	u.say("error", u.style.bad("error:")+" ", text)
	for _, h := range hints {
		u.say("hint", u.style.dim("  hint:")+" ", h)
	}
}

// Hints returns the hints of err and of all that it wraps, each once: what
// the methods Hints() []string return.
func Hints(err error) []string {
	var hints []string
	add := func(more []string) {
		for _, h := range more {
			if !slices.Contains(hints, h) {
				hints = append(hints, h)
			}
		}
	}
	if h, ok := err.(interface{ Hints() []string }); ok {
		add(h.Hints())
	}
	switch w := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			add(Hints(inner))
		}
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			add(Hints(inner))
		}
	}
	return hints
}

// say writes a message of one line or more.
func (u *UI) say(kind, prefix, text string) {
	if u.format == JSON {
		u.event(event{Event: kind, Message: text})
		return
	}
	text = prefix + strings.ReplaceAll(clean(strings.TrimSpace(text)), "\n", "\n  ")
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live != nil && u.live.send(noteMsg(text)) {
		return
	}
	u.breakLine()
	u.print(text + "\n")
}

// print writes text. An error has nobody left to be told to.
func (u *UI) print(text string) { _, _ = io.WriteString(u.out, text) }

// clean removes control characters, with which text from elsewhere could
// rewrite the screen.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}

// line is clean for text that must stay on one line.
func line(s string) string {
	return strings.Join(strings.Fields(clean(strings.ReplaceAll(s, "\n", " "))), " ")
}

// style colours text, or does not.
type style struct {
	renderer                   *lipgloss.Renderer
	good, bad, warn, dim, bold func(string) string
}

func newStyle(out io.Writer, colour bool) style {
	plain := func(s string) string { return s }
	s := style{renderer: lipgloss.NewRenderer(out), good: plain, bad: plain, warn: plain, dim: plain, bold: plain}
	s.renderer.SetHasDarkBackground(true) // known, so never asked for: see noquery
	if !colour {
		return s
	}
	// The sixteen colours of the person's own theme.
	base := s.renderer.NewStyle()
	render := func(st lipgloss.Style) func(string) string {
		return func(text string) string { return st.Render(text) }
	}
	s.good = render(base.Foreground(lipgloss.Color("2")))
	s.bad = render(base.Foreground(lipgloss.Color("1")).Bold(true))
	s.warn = render(base.Foreground(lipgloss.Color("3")))
	s.dim = render(base.Faint(true))
	s.bold = render(base.Bold(true))
	return s
}
