package tty

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// resizePeriod is how often the size is read: a Windows console reports a
// resize only among its input events, which belong to the session.
const resizePeriod = 250 * time.Millisecond

// state is what raw mode changes: the modes of the input and output handles
// and the code pages that bytes are translated with.
type state struct {
	in, out     uint32
	inCP, outCP uint32
}

// utf8CodePage is CP_UTF8.
const utf8CodePage = 65001

func isTerminal(f *os.File) bool {
	var mode uint32
	return windows.GetConsoleMode(windows.Handle(f.Fd()), &mode) == nil
}

func readState(in, out *os.File) (*state, error) {
	s := new(state)
	if err := windows.GetConsoleMode(windows.Handle(in.Fd()), &s.in); err != nil {
		return nil, err
	}
	if err := windows.GetConsoleMode(windows.Handle(out.Fd()), &s.out); err != nil {
		return nil, err
	}
	var err error
	if s.inCP, err = windows.GetConsoleCP(); err != nil {
		return nil, err
	}
	s.outCP, err = windows.GetConsoleOutputCP()
	return s, err
}

func writeState(in, out *os.File, s *state) error {
	return setConsole(in, out, *s)
}

// makeRaw hands every key to the reader as the bytes a VT terminal would
// send, and lets the console interpret VT sequences in what is written.
func makeRaw(in, out *os.File, s *state) error {
	raw := *s
	raw.in &^= windows.ENABLE_ECHO_INPUT | windows.ENABLE_LINE_INPUT | windows.ENABLE_PROCESSED_INPUT |
		windows.ENABLE_QUICK_EDIT_MODE
	raw.in |= windows.ENABLE_EXTENDED_FLAGS | windows.ENABLE_VIRTUAL_TERMINAL_INPUT
	raw.out |= windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING |
		windows.DISABLE_NEWLINE_AUTO_RETURN
	raw.inCP, raw.outCP = utf8CodePage, utf8CodePage
	return setConsole(in, out, raw)
}

// setConsole sets everything it can and returns the first error.
func setConsole(in, out *os.File, s state) error {
	var first error
	for _, err := range []error{
		windows.SetConsoleMode(windows.Handle(in.Fd()), s.in),
		windows.SetConsoleMode(windows.Handle(out.Fd()), s.out),
		windows.SetConsoleCP(s.inCP),
		windows.SetConsoleOutputCP(s.outCP),
	} {
		if first == nil {
			first = err
		}
	}
	return first
}

func readSize(out *os.File) (Size, error) {
	var i windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(windows.Handle(out.Fd()), &i); err != nil {
		return Size{}, err
	}
	return Size{Cols: int(i.Window.Right-i.Window.Left) + 1, Rows: int(i.Window.Bottom-i.Window.Top) + 1}, nil
}

// resizes returns a channel that receives when the size may have changed.
func resizes() (changed <-chan time.Time, stop func()) {
	t := time.NewTicker(resizePeriod)
	return t.C, t.Stop
}

// onContinue has nothing to do: Windows does not stop processes.
func (t *Terminal) onContinue(func()) (stop func()) { return func() {} }

// modes is empty: a console has no termios, and the agent's defaults fit.
func modes(*state) map[uint8]uint32 { return map[uint8]uint32{} }
