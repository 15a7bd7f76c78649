package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
)

// picture is a command line that makes something of a screen, and waits.
const picture = `PS1=end; stty -echo; printf '\033]2;a title\a\033[2J\033[3;5H\033[1;31mred\033[0;44m blue\033[7;20H\033[4m\0337ready'` + "\r"

func TestDetachAndAttach(t *testing.T) {
	w := serve(t, nil)
	mine, _ := w.connect(owner)
	here := sit(t, mine, session.Command{})
	here.hears("started")
	here.types(picture)
	here.sees("readyend")
	before := here.state()
	if err := here.control.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := here.detached(""); d.Session != 1 || time.Until(d.Until) < time.Minute {
		t.Errorf("detached: %+v", d)
	}

	// The same user at another machine, which has another key.
	elsewhere, _ := w.connect(owner)
	list, err := elsewhere.Sessions(t.Context())
	if err != nil || len(list) != 1 || list[0].Detached.IsZero() || list[0].Title != "a title" || list[0].Owner != owner {
		t.Fatalf("sessions: %+v, %v", list, err)
	}
	left, err := mine.Leave(t.Context())
	if want := (session.Remaining{Connections: 1, Detached: 1}); err != nil || left != want {
		t.Errorf("left %+v, %v; want %+v", left, err, want)
	}
	there := sit(t, elsewhere, session.Command{Attach: &session.Attach{Session: 1}})
	there.hears("started")
	there.shows(before)
	there.types("exit 7\r")
	var exit *session.ExitError
	if err := <-there.ended; !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("the session ended with %v", err)
	}
	if err := run(t, elsewhere, session.Command{Attach: &session.Attach{}}); !errors.Is(err, session.ErrNoSession) {
		t.Errorf("attached what is over: %v", err)
	}
}

// run is for a session that will not come to anything.
func run(t *testing.T, c *session.Client, cmd session.Command) error {
	t.Helper()
	cmd.Terminal = &session.Terminal{Term: "xterm", Size: tty.Size{Cols: 60, Rows: 12}}
	return c.Run(t.Context(), cmd)
}

// TestDetachByKeys: what is typed before `~d` gets there.
func TestDetachByKeys(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	p := sit(t, c, session.Command{})
	p.sees("$")
	p.types("echo on$((1+1))ward\r~d")
	p.detached("")
	p = sit(t, c, session.Command{Attach: &session.Attach{}}) // the only one
	p.sees("on2ward")
	p.types("\r~.")
	if err := <-p.ended; !errors.Is(err, session.ErrLeft) {
		t.Errorf("left with %v", err)
	}
}

func TestTakeover(t *testing.T) {
	w := serve(t, nil)
	first, _ := w.connect(owner)
	here := sit(t, first, session.Command{})
	here.types(picture)
	here.sees("readyend")
	second, _ := w.connect(owner)
	there := sit(t, second, session.Command{Attach: &session.Attach{Session: 1}})
	if d := here.detached("attached elsewhere by " + owner); d.Session != 1 {
		t.Errorf("detached: %+v", d)
	}
	there.shows(here.state())
	there.types("stty echo; echo mi''ne\r")
	there.sees("mine")
}

func TestScrollback(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	p := sit(t, c, session.Command{})
	p.types("seq 100 140\r")
	p.sees("139")
	if err := p.control.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.detached("")
	var out lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	control := new(session.Control)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(ctx, session.Command{
			Attach: &session.Attach{Scrollback: true}, Control: control, Stdout: &out, Stdin: silence(t),
			Terminal: &session.Terminal{Term: "xterm", Size: tty.Size{Cols: 60, Rows: 12}},
		})
	}()
	out.await(t, "139")
	if text := out.String(); !strings.Contains(text, "100\r\n101") {
		t.Errorf("no scrollback in %q", text)
	}
	cancel()
	<-ended
}

func silence(t *testing.T) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return r
}

// TestLostClient: without being asked the agent keeps nothing.
func TestLostClient(t *testing.T) {
	for _, persist := range []time.Duration{0, time.Minute} {
		w := serve(t, nil)
		c, network := w.connect(owner)
		p := sit(t, c, session.Command{Persist: persist})
		p.types(picture)
		p.sees("readyend")
		before := p.state()
		_ = network.Close()
		var none *session.NoStatusError
		if err := <-p.ended; !errors.As(err, &none) || none.Fate != session.MayRun {
			t.Errorf("the session ended with %v", err)
		}
		again, _ := w.connect(owner)
		if persist == 0 {
			for list := []session.Info{{}}; len(list) > 0; {
				var err error
				if list, err = again.Sessions(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		back := sit(t, again, session.Command{Attach: &session.Attach{Session: 1}})
		back.shows(before)
		back.types("exit\r")
		if err := <-back.ended; err != nil {
			t.Errorf("the session ended with %v", err)
		}
	}
}

// TestGone: the guard of a client that was killed does not wait until the
// agent notices.
func TestGone(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	p := sit(t, c, session.Command{Persist: time.Minute})
	p.sees("$")
	guard, _ := w.connect(owner)
	if err := guard.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := guard.Gone(t.Context(), c.ID()); err != nil {
		t.Fatal(err)
	}
	var none *session.NoStatusError
	if err := <-p.ended; !errors.As(err, &none) {
		t.Errorf("the session ended with %v", err)
	}
	s, err := guard.Status(t.Context())
	if err != nil || s.Holders != 1 || s.Detached != 1 {
		t.Errorf("status %+v, %v", s, err)
	}
	left, err := guard.Leave(t.Context())
	if want := (session.Remaining{Detached: 1}); err != nil || left != want {
		t.Errorf("left %+v, %v; want %+v", left, err, want)
	}
	if err := guard.Gone(t.Context(), c.ID()); err == nil {
		t.Error("a connection was gone twice")
	}
}

func TestShare(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	p := sit(t, c, session.Command{Share: session.ShareRead})
	p.types(picture)
	p.sees("readyend")
	for { // until it is shared
		list, err := c.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if list[0].Share == session.ShareRead {
			break
		}
	}
	before := p.state()
	guest, _ := w.connect("bob@example.com")
	v := sit(t, guest, session.Command{Attach: &session.Attach{Session: 1, ReadOnly: true}})
	v.shows(before)
	p.hears("bob@example.com (read-only) joined")
	v.types("echo not me\r")
	p.types("stty echo; echo see''n\r")
	v.sees("seen")
	if list, err := guest.Sessions(t.Context()); err != nil || len(list) != 1 || len(list[0].Viewers) != 1 {
		t.Errorf("sessions for a guest: %+v, %v", list, err)
	}
	if err := guest.Renew(t.Context(), time.Now().Add(time.Hour)); err == nil {
		t.Error("a guest renewed the lease")
	}
	if err := run(t, guest, session.Command{}); err == nil {
		t.Error("a guest started a shell")
	}
	v.types("\r~.")
	if err := <-v.ended; !errors.Is(err, session.ErrLeft) {
		t.Errorf("the guest left with %v", err)
	}
	p.hears("bob@example.com (read-only) left")
	if strings.Contains(p.state(), "not me") {
		t.Error("a guest without leave has typed")
	}
	if err := p.control.Share(t.Context(), session.ShareOff); err != nil {
		t.Error(err)
	}
}

// TestStatusLineAndRedraw: with or without a place to restore the screen from,
// it is as it was.
func TestStatusLineAndRedraw(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	p := sit(t, c, session.Command{})
	p.types(picture)
	p.sees("readyend")
	p.hears("answered") // where the cursor is
	before := p.state()
	p.output.Status("no connection")
	p.sees("no connection")
	if p.output.Clear() {
		t.Error("the screen has to be sent again")
	}
	if after := p.state(); after != before {
		t.Errorf("the screen is %q, was %q", after, before)
	}
	_, _ = io.WriteString(p, "\x1b7\x1b[12;1Hscribble\x1b8")
	if err := p.control.Redraw(t.Context()); err != nil {
		t.Error(err)
	}
	p.shows(before)
}

// TestStoppedAgent: what a command makes of the end of its instance is not how
// it ended.
func TestStoppedAgent(t *testing.T) {
	for _, command := range []string{"echo started; sleep 1000", "trap 'exit 0' TERM HUP; echo started; while :; do sleep 0.01; done"} {
		w := serve(t, nil)
		c, _ := w.connect(owner)
		var out, errs lockedBuffer
		ended := make(chan error, 1)
		go func() {
			ended <- c.Run(t.Context(), session.Command{Shell: command, Stdout: &out, Stderr: &errs, Stdin: silence(t)})
		}()
		p := sit(t, c, session.Command{})
		p.sees("$")
		out.await(t, "started")
		w.stop()
		for _, err := range []error{<-ended, <-p.ended} {
			var none *session.NoStatusError
			if !errors.As(err, &none) || none.Fate != session.Stopped {
				t.Errorf("%s: ended with %v", command, err)
			}
		}
		if !strings.Contains(errs.String(), "shutting down") {
			t.Errorf("nobody told the command's user: %q", errs.String())
		}
	}
}

func TestLeaseAndForwarding(t *testing.T) {
	w := serve(t, nil)
	c, _ := w.connect(owner)
	later := time.Now().Add(5 * time.Hour).Truncate(time.Second)
	if err := c.Renew(t.Context(), later); err != nil {
		t.Error(err)
	}
	s, err := c.Status(t.Context())
	if err != nil || !s.Expires.Equal(later) || s.Memory == 0 || s.Connections != 1 {
		t.Errorf("status %+v, %v; want a lease until %v", s, err, later)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer l.Close()
		if conn, err := l.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "there and back")
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "there and back" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := c.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("connected to a closed port")
	}
}
