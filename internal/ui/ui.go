// Package ui is what a person sees while cloudssh works: progress, pickers,
// questions and errors, on a terminal or without one.
package ui

import (
	"context"
	"errors"
	"io"
	"os"
)

// ErrCancelled is returned when the person left a picker or a question.
var ErrCancelled = errors.New("cancelled")

// Format is how progress is written.
type Format int

const (
	Auto  Format = iota // animated on a terminal, else Plain
	Plain               // one line a step
	JSON                // one JSON object a line
	Quiet               // nothing; errors and questions still appear
)

// Options says how to talk to the person.
type Options struct {
	Format  Format
	NoColor bool // NO_COLOR or its like
}

// UI writes to the person, on standard error as a rule. Its methods may be
// called from several goroutines.
type UI struct{}

// New returns a UI that reads answers from in and writes to out. It animates
// and asks only if both are terminals. in may be nil.
func New(in *os.File, out io.Writer, o Options) *UI { panic("not built yet") }

// Interactive says whether there is a person to ask.
func (u *UI) Interactive() bool { panic("not built yet") }

// Progress announces a step. update replaces the detail behind it, done ends
// it, with an error when it failed. It has the type of provision.Progress.
func (u *UI) Progress(step string) (update func(detail string), done func(error)) {
	panic("not built yet")
}

// Settle ends the live view of the steps so far and replaces the finished
// ones by one line (none when final is empty); failed ones stay. When it
// returns nothing moves on the screen any more: call it before raw mode and
// before the process ends. It may be called at any time, any number of times.
func (u *UI) Settle(final string) { panic("not built yet") }

// Notef and Warnf write one line, above the live view if there is one.
func (u *UI) Notef(format string, args ...any) { panic("not built yet") }
func (u *UI) Warnf(format string, args ...any) { panic("not built yet") }

// Error writes an error and the hints that it carries.
func (u *UI) Error(err error) { panic("not built yet") }

// Errorf writes `error: ...` and a `  hint: ...` line for each hint.
func (u *UI) Errorf(hints []string, format string, args ...any) { panic("not built yet") }

// Item is one line of a picker.
type Item[T any] struct {
	Value  T
	Title  string // matched by the filter
	Detail string // matched too; shown beside the title
}

// Pick lets the person choose one of items.
func Pick[T any](ctx context.Context, u *UI, title string, items []Item[T]) (T, error) {
	panic("not built yet")
}

// Confirm asks a yes/no question; Enter alone means no.
func (u *UI) Confirm(ctx context.Context, question string) (bool, error) { panic("not built yet") }

// Table writes rows under a header in aligned columns.
func Table(w io.Writer, header []string, rows [][]string) error { panic("not built yet") }

// WriteJSON writes v as indented JSON.
func WriteJSON(w io.Writer, v any) error { panic("not built yet") }
