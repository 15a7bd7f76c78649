package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
)

// controlTimeout bounds what the person asks of a session in passing.
const controlTimeout = 10 * time.Second

// window is a session in the user's terminal.
type window struct {
	*connection
	link    *link
	twin    *provision.Twin
	control *session.Control
	screen  *tty.Output
	status  *statusLine
}

// runInTerminal runs a session in the user's terminal: raw for its duration,
// resized with it, left by `~.`.
func (s *connection) runInTerminal(ctx context.Context, l *link, twin *provision.Twin, cmd session.Command) error {
	size, err := s.terminal.Size()
	if err != nil {
		return fmt.Errorf("reading the terminal's size: %w", err)
	}
	keyboard, err := s.terminal.Input()
	if err != nil {
		return fmt.Errorf("reading the terminal: %w", err)
	}
	defer keyboard.Close() //nolint:errcheck // only read
	following, stop := context.WithCancel(ctx)
	defer stop()
	// A full-screen program that was cut off leaves the screen in its modes.
	screen := tty.NewOutput(cmd.Stdout, tty.OutputOptions{Size: size, Locate: s.term() != "dumb", Plain: s.env("NO_COLOR") != ""})
	w := &window{connection: s, link: l, twin: twin, control: &session.Control{}, screen: screen}
	w.status = &statusLine{screen: screen, redraw: w.redraw}
	defer w.status.close()
	s.screen.Store(w.status)
	defer s.screen.Store(nil)
	cmd.Terminal = &session.Terminal{
		Term: s.term(), Size: size, Modes: s.terminal.Modes(), Sizes: screen.Follow(s.terminal.Sizes(following)),
	}
	cmd.Stdin = tty.NewEscapeReader(&probing{screen.Keyboard(keyboard), l}, w.escapes())
	cmd.Stdout, cmd.Control = screen, w.control
	cmd.Started = func(number uint32) { s.started(number, twin, w.say) }
	cmd.Notice = func(text string) { w.status.notify(text) }
	go l.outage.follow(following, w.lost, w.back)
	err = s.terminal.Raw(func() error { return s.runOn(ctx, l, cmd) })
	w.status.close()
	if resetErr := screen.Reset(); resetErr != nil {
		s.log.Info("resetting the screen", "error", resetErr)
	}
	if errors.Is(err, tty.ErrDisconnect) {
		s.ui.Notef("left %s", twin.Name)
	}
	return err
}

// say writes lines of ours between the remote program's.
func (w *window) say(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")
	if err := w.screen.Print(text + "\r\n"); err != nil {
		w.log.Info("writing to the terminal", "error", err)
	}
}

// lost shows how long the connection has been gone.
func (w *window) lost(lasting time.Duration) {
	leave := "Ctrl-C leaves"
	if c := w.escapeChar(); c != 0 {
		leave = fmt.Sprintf("%c. or Ctrl-C leaves", c)
	}
	w.status.outage(fmt.Sprintf("no connection for %s, trying again; %s", short(lasting), leave))
}

// back shows that it is there again, and until when.
func (w *window) back(lasted time.Duration) {
	w.status.outage("")
	w.status.notify(fmt.Sprintf("connected again after %s; the lease of %s ends at %s", short(lasted), w.twin.Name, clock(w.lease.ends())))
}

// redraw has the agent send the screen again, where our line was in the way.
func (w *window) redraw() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
		defer cancel()
		if err := w.control.Redraw(ctx); err != nil {
			w.log.Info("redrawing", "error", err)
		}
	}()
}

// detach leaves the session to the agent.
func (w *window) detach() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
		defer cancel()
		if err := w.control.Detach(ctx); err != nil {
			w.status.notify(err.Error())
		}
	}()
}

func (w *window) escapeChar() byte {
	if w.options.escape == "none" {
		return 0
	}
	return w.options.escape[0]
}

func (w *window) escapes() tty.EscapeOptions {
	o := tty.EscapeOptions{
		Char: w.escapeChar(),
		Help: func() { w.say("%s", w.help()) },
		// Ctrl-C cannot reach the program then, and the person has had enough.
		Interrupt: w.status.out,
	}
	if !w.options.unguarded && !w.guest {
		o.Detach = w.detach
	}
	return o
}

// help is what ~? shows.
func (w *window) help() string {
	var b strings.Builder
	c := w.escapeChar()
	fmt.Fprintf(&b, "\n%c.  leave the session\n", c)
	if !w.options.unguarded && !w.guest {
		fmt.Fprintf(&b, "%cd  detach: the session goes on, and `cloudssh attach %s` comes back to it\n", c, w.twin.Source)
	}
	fmt.Fprintf(&b, "%[1]c%[1]c  type one %[1]c\n%[1]c?  this help\n(escapes work at the start of a line)\n", c)
	fmt.Fprintf(&b, "%s, a twin of %s in %s", w.twin.Name, w.twin.Source, w.twin.Region)
	if n := w.number.Load(); n != 0 {
		fmt.Fprintf(&b, ", session %d", n)
	}
	now, ends := time.Now(), w.lease.ends()
	fmt.Fprintf(&b, "\nits lease ends in %s, at %s\n", short(ends.Sub(now)), clock(ends))
	fmt.Fprintf(&b, "%s\n%s so far\n", w.carrier(), cost(*w.twin, now))
	fmt.Fprintf(&b, "held by this connection; when it is gone: %s", w.holder(w.twin))
	if n, mode := w.number.Load(), w.options.share.mode; n != 0 && mode != session.ShareOff {
		fmt.Fprintf(&b, "\nshared (%s): %s", mode, joinCommand(w.twin, n, mode))
	}
	return b.String()
}

// carrier describes the connection.
func (w *window) carrier() string {
	state, _ := w.link.outage.look()
	stats := w.link.conn.Stats()
	text := state.Phase.String()
	if state.Wire != "" {
		text += " over " + state.Wire
	}
	if stats.MinRTT > 0 {
		text += fmt.Sprintf(", round trip %s", stats.MinRTT.Round(100*time.Microsecond))
	}
	return text
}

// probing looks after the connection whenever a key is pressed.
type probing struct {
	io.Reader
	link *link
}

func (p *probing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 && p.link.outage.down() {
		p.link.conn.Probe()
	}
	return n, err
}
