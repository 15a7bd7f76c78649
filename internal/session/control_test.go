package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// requests returns the requests of a session up to the one that starts it,
// granting all but those of one kind.
func (r *remote) requests(refused string) (got []string) {
	for req := range r.reqs {
		got = append(got, fmt.Sprintf("%s %x", req.Type, req.Payload))
		if req.WantReply {
			_ = req.Reply(req.Type != refused, nil)
		}
		switch req.Type {
		case "shell", "exec", "attach@cloudssh":
			return got
		}
	}
	return got
}

func (r *remote) tell(request string, message any) {
	if _, err := r.SendRequest(request, false, ssh.Marshal(message)); err != nil {
		r.t.Error(err)
	}
}

type number struct{ N uint32 }

type text struct{ S string }

func TestPersistAndAttachRequests(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cmd     Command
		want    []string // but for pty-req
		refused string
		says    string
	}{
		{"kept", Command{Persist: 90 * time.Second}, []string{"persist@cloudssh 0000005a", "shell "}, "", ""},
		{"kept, rounded up", Command{Shell: "x", Persist: time.Millisecond}, []string{"persist@cloudssh 00000001", "exec 0000000178"}, "", ""},
		{
			"not kept",
			Command{Persist: time.Hour},
			[]string{"persist@cloudssh 00000e10"},
			"persist@cloudssh",
			"the command was not started: the agent refused to keep a session without its client; it is safe to run it again",
		},
		{"attached", Command{Attach: &Attach{Session: 3, Scrollback: true}}, []string{"attach@cloudssh 000000030001"}, "", ""},
		{"attached, only to look", Command{Attach: &Attach{ReadOnly: true}}, []string{"attach@cloudssh 000000000100"}, "", ""},
		{"not attached", Command{Attach: &Attach{}}, []string{"attach@cloudssh 000000000000"}, "attach@cloudssh", "no session was attached: the agent refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []string, 1)
			c := connect(t, func(r *remote) {
				got <- r.requests(tt.refused)
				if tt.refused == "" {
					r.exit(4)
				}
			})
			tt.cmd.Terminal = &Terminal{Term: "xterm"}
			err := c.Run(t.Context(), tt.cmd)
			if tt.says == "" && code(err) != 4 || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, ErrNoSession) != (tt.refused == "attach@cloudssh") {
				t.Errorf("%v: no session?", err)
			}
			if diff := cmp.Diff(tt.want, (<-got)[1:]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommandsThatMakeNoSense(t *testing.T) {
	c := connect(t, nil)
	for _, cmd := range []Command{
		{Attach: &Attach{}},
		{Persist: time.Hour, Shell: "x"},
		{Share: ShareRead},
		{Attach: &Attach{}, Shell: "x", Terminal: &Terminal{}},
	} {
		var none *NoStatusError
		if err := c.Run(t.Context(), cmd); err == nil || errors.As(err, &none) {
			t.Errorf("%+v: %v", cmd, err)
		}
	}
}

func TestEventsOfASession(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("shell")
		r.tell("session@cloudssh", number{5})
		if share := r.want("share@cloudssh"); string(share.Payload) != "\x00\x00\x00\x02" {
			t.Errorf("asked for %x", share.Payload)
		}
		r.tell("notice@cloudssh", text{"bob@x joined"})
		r.tell("notice@cloudssh", text{"bob@x left"})
		r.exit(0)
	})
	var events []string
	err := c.Run(t.Context(), Command{
		Terminal: &Terminal{}, Share: ShareWrite,
		Started: func(id uint32) { events = append(events, fmt.Sprint("session ", id)) },
		Notice:  func(text string) { events = append(events, text) },
	})
	if want := []string{"session 5", "bob@x joined", "bob@x left"}; err != nil || !slices.Equal(events, want) {
		t.Errorf("got %v, %v; want %v", events, err, want)
	}
}

func TestSharingRefused(t *testing.T) {
	told := make(chan string, 1)
	c := connect(t, func(r *remote) {
		r.want("shell")
		_ = (<-r.reqs).Reply(false, nil)
		<-told
		r.exit(0)
	})
	err := c.Run(t.Context(), Command{Terminal: &Terminal{}, Share: ShareRead, Notice: func(text string) { told <- text }})
	if err != nil {
		t.Error(err)
	}
}

func TestDetached(t *testing.T) {
	until := time.Unix(1790000000, 0)
	c := connect(t, func(r *remote) {
		r.want("shell")
		r.print("before")
		r.want("redraw@cloudssh")
		r.want("share@cloudssh")
		r.want("detach@cloudssh")
		r.print(", after")
		r.tell("detached@cloudssh", struct {
			Session uint32
			Until   uint64
			Reason  string
		}{3, uint64(until.Unix()), ""})
	})
	control := new(Control)
	if err := control.Redraw(t.Context()); !errors.Is(err, errNoSession) {
		t.Errorf("before the session: %v", err)
	}
	var out bytes.Buffer
	told := make(chan error, 1)
	never, keep := io.Pipe()
	defer keep.Close()
	err := c.Run(t.Context(), Command{
		Terminal: &Terminal{}, Control: control, Stdin: never,
		Stdout: writerFunc(func(p []byte) (int, error) {
			if out.Len() == 0 {
				go func() {
					told <- errors.Join(control.Redraw(t.Context()), control.Share(t.Context(), ShareRead), control.Detach(t.Context()))
				}()
			}
			return out.Write(p)
		}),
	})
	if err := <-told; err != nil {
		t.Error(err)
	}
	var detached *DetachedError
	if !errors.As(err, &detached) || *detached != (DetachedError{Session: 3, Until: until}) || out.String() != "before, after" {
		t.Errorf("got %v (%+v) after %q", err, detached, out.String())
	}
	if err := control.Detach(t.Context()); !errors.Is(err, errNoSession) {
		t.Errorf("after the session: %v", err)
	}
}

func TestControlWaits(t *testing.T) {
	start, asked, answer := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := connect(t, func(r *remote) {
		pty := <-r.reqs
		<-start
		_ = pty.Reply(true, nil)
		r.want("shell")
		redraw := <-r.reqs
		close(asked)
		<-answer
		_ = redraw.Reply(true, nil)
		_ = (<-r.reqs).Reply(false, nil)
		r.exit(0)
	})
	control := new(Control)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context(), Command{Terminal: &Terminal{}, Control: control}) }()
	briefly := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return control.Redraw(ctx)
	}
	for err := briefly(); !errors.Is(err, context.DeadlineExceeded); err = briefly() {
		if !errors.Is(err, errNoSession) { // Run has not come so far
			t.Fatalf("before the command runs: %v", err)
		}
	}
	close(start)
	for waiting := true; waiting; { // until one is on its way, and once more: that queues behind it
		select {
		case <-asked:
			waiting = false
		default:
		}
		if err := briefly(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("without an answer: %v", err)
		}
	}
	close(answer)
	if err := control.Detach(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("refused: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lossy is a connection that is lost when it is told so, for a reason that it
// has to tell.
type lossy struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (l *lossy) lose(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	_ = l.Close()
}

func (l *lossy) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	return n, l.reason(err)
}

func (l *lossy) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	return n, l.reason(err)
}

func (l *lossy) reason(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err != nil {
		return l.err
	}
	return err
}

// final is an error of a connection that cannot go on.
type final struct {
	instance, superseded bool
	text                 string
}

func (f *final) Error() string      { return f.text }
func (f *final) InstanceGone() bool { return f.instance }
func (f *final) Superseded() bool   { return f.superseded }

func TestFates(t *testing.T) {
	replaced := &final{instance: true, text: "the instance was replaced"}
	for _, tt := range []struct {
		name  string
		start bool
		err   error
		fate  Fate
		says  string
	}{
		{"before the start", false, replaced, NotStarted, "the connection was lost: the instance was replaced; it is safe to run it again"},
		{"lost", true, errors.New("no route"), MayRun, "no route; the command may still be running; check before running it again"},
		{"final", true, &final{text: "the agent forgot us"}, MayRun, "the command may still be running; check"},
		{"the instance is gone", true, replaced, Stopped, "the instance was stopped, and the command with it (the connection was lost: the instance was replaced); check what it has done"},
		{"superseded", true, &final{superseded: true, text: "another client took over"}, TakenOver, "another client took over; the command goes on there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var link *lossy
			s := &server{
				wrap: func(conn net.Conn) net.Conn {
					link = &lossy{Conn: conn}
					return link
				},
				session: func(r *remote) {
					if tt.start {
						r.want("exec")
					}
					link.lose(tt.err)
					for range r.reqs {
					}
				},
			}
			var none *NoStatusError
			cmd := Command{Shell: "x"}
			if !tt.start {
				cmd.Terminal = &Terminal{} // whose reply never comes
			}
			err := s.client(t).Run(t.Context(), cmd)
			if !errors.As(err, &none) || none.Fate != tt.fate || !strings.Contains(err.Error(), tt.says) || !errors.Is(err, tt.err) {
				t.Errorf("got %v (%+v), want %q", err, none, tt.says)
			}
		})
	}
}

func TestStoppedInstance(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("exec")
		r.print("half")
		r.tell("stopped@cloudssh", text{"the lease has ended"})
		r.exit(129) // what the command made of its end
	})
	var out bytes.Buffer
	err := c.Run(t.Context(), Command{Shell: "x", Stdout: &out})
	var none *NoStatusError
	if !errors.As(err, &none) || none.Fate != Stopped || none.Err.Error() != "the lease has ended" || out.String() != "half" {
		t.Errorf("got %v after %q", err, out.String())
	}
}

func TestReadOnlyTypesNothing(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("attach@cloudssh")
		r.print("$ ")
		if typed, _ := io.ReadAll(r); len(typed) > 0 {
			t.Errorf("typed %q", typed)
		}
	})
	in := tty.NewEscapeReader(strings.NewReader("rm -rf\r~."), tty.EscapeOptions{Char: '~'})
	err := c.Run(t.Context(), Command{Terminal: &Terminal{}, Attach: &Attach{ReadOnly: true}, Stdin: in})
	if !errors.Is(err, ErrLeft) {
		t.Errorf("got %v", err)
	}
}

// TestLeavingWhileNothingCanBeSent: the channel's window is full, as it may be
// when the connection is away.
func TestLeavingWhileNothingCanBeSent(t *testing.T) {
	c := connect(t, func(r *remote) {
		r.want("shell")
		for range r.reqs { // and read nothing
		}
	})
	paste := strings.Repeat(strings.Repeat("x", 999)+"\r", 3<<10)
	in := tty.NewEscapeReader(strings.NewReader(paste+"~."), tty.EscapeOptions{Char: '~'})
	if err := c.Run(t.Context(), Command{Terminal: &Terminal{}, Stdin: in}); !errors.Is(err, ErrLeft) {
		t.Errorf("got %v", err)
	}
}

// TestFlush: a detach comes after what was typed before it, unless the command
// takes none of it.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, typing := io.Pipe()
		in, to := io.Pipe()
		r := &run{typed: make(chan typed, 64), unsent: make(chan struct{}), over: make(chan struct{})}
		go func() { _, _ = r.keys(to, keys) }()
		flushed := make(chan error, 1)
		flush := func() {
			ctx, stop := context.WithTimeout(t.Context(), detachDelay)
			defer stop()
			flushed <- r.flush(ctx)
		}
		_, _ = io.WriteString(typing, "ls\r")
		synctest.Wait() // as Read is called again before a detach
		go flush()
		synctest.Wait()
		select {
		case <-flushed:
			t.Error("flushed before it was sent")
		default:
		}
		if _, err := io.ReadFull(in, make([]byte, 3)); err != nil {
			t.Error(err)
		}
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(typing, "more")
		synctest.Wait()
		if flush(); <-flushed != nil {
			t.Error("a command that takes nothing keeps the person")
		}
		close(r.over)
		_, _ = in.Close(), keys.Close()
	})
}
