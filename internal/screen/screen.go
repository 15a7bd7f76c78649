// Package screen keeps the state of a terminal from the bytes that programs
// write to it: what is on it, what has scrolled off, the cursor, the modes and
// the title. From that state it makes the bytes that bring another terminal
// into the same one.
package screen

import "github.com/charmbracelet/x/vt"

type Screen struct{ e *vt.Emulator }

func New(cols, rows int) *Screen              { return &Screen{vt.NewEmulator(cols, rows)} }
func (s *Screen) Write(p []byte) (int, error) { return s.e.Write(p) }
func (s *Screen) Redraw() []byte              { return []byte(s.e.Render()) }
