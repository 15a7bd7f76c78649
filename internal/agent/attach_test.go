//go:build linux

package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// A seat is a client's channel to a terminal session.
type seat struct {
	ssh.Channel
	t        *testing.T
	out      *syncBuffer
	told     *syncBuffer // channel requests: name and payload, a line each
	closed   chan struct{}
	received sync.WaitGroup
}

// sit opens a channel with a terminal.
func sit(t *testing.T, c *ssh.Client, cols, rows uint32) *seat {
	t.Helper()
	ch, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &seat{Channel: ch, t: t, out: newSyncBuffer(), told: newSyncBuffer(), closed: make(chan struct{})}
	s.received.Go(func() { io.Copy(s.out, ch) })
	go func() {
		defer close(s.closed)
		for req := range requests {
			fmt.Fprintf(s.told, "%s %q\n", req.Type, req.Payload)
			if req.WantReply {
				req.Reply(false, nil)
			}
		}
		s.received.Wait()
	}()
	t.Cleanup(func() { ch.Close() })
	s.request("pty-req", struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm-256color", cols, rows, 0, 0, "\x35\x00\x00\x00\x00\x00"}, true) // no echo
	return s
}

func (s *seat) request(kind string, payload any, want bool) {
	s.t.Helper()
	var text []byte
	if payload != nil {
		text = ssh.Marshal(payload)
	}
	if ok, err := s.SendRequest(kind, true, text); ok != want || err != nil {
		s.t.Fatalf("%s: %v, %v, want %v", kind, ok, err, want)
	}
}

func (s *seat) exec(command string) {
	s.t.Helper()
	s.request("exec", struct{ Command string }{command}, true)
}

func (s *seat) attach(id uint32, readOnly, scrollback bool) {
	s.t.Helper()
	s.request("attach@cloudssh", attachRequest{id, readOnly, scrollback}, true)
}

func (s *seat) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Fatal(err)
	}
}

// ended waits for the end of the channel.
func (s *seat) ended() {
	s.t.Helper()
	select {
	case <-s.closed:
	case <-time.After(patience):
		s.t.Fatalf("the channel was not closed; output %q, requests %s", s.out, s.told)
	}
}

// shows is the text of the screen that the output makes.
func (s *seat) shows(cols, rows int) string {
	terminal := screen.New(cols, rows)
	terminal.Write([]byte(s.out.String()))
	return terminal.Text()
}

func sessionsOf(t *testing.T, c *ssh.Client) []SessionInfo {
	t.Helper()
	var list []SessionInfo
	ok, answer := ask(t, c, "sessions@cloudssh", nil)
	if err := json.Unmarshal(answer, &list); !ok || err != nil {
		t.Fatalf("sessions: %v, %v", ok, err)
	}
	return list
}

// until waits for a change of the sessions.
func (a *knownAgent) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for !is() {
		select {
		case <-a.changed:
		case <-timeout:
			t.Fatalf("not %s: %+v", what, a.shells.list(caller{}))
		}
	}
}

func (a *knownAgent) untilDetached(t *testing.T, n int) {
	t.Helper()
	a.until(t, fmt.Sprintf("%d detached", n), func() bool { return a.shells.detached() == n })
}

func exitPayload(status uint32) string {
	return fmt.Sprintf("exit-status %q", ssh.Marshal(struct{ Status uint32 }{status}))
}

func TestDetachAndAttach(t *testing.T) {
	a := startKnown(t, Settings{Expires: time.Now().Add(time.Hour).Unix()})
	client, _ := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.exec("printf '\\033]2;the title\\007'; for i in $(seq 100); do echo line $i; done; printf '\\033[31mred'; read a; echo got $a; read b; echo and $b; exit 7")
	s.out.wait(t, "red")
	s.told.wait(t, `session@cloudssh "\x00\x00\x00\x01"`)
	list := sessionsOf(t, client)
	if len(list) != 1 || list[0].ID != 1 || list[0].Title != "the title" || list[0].Detached != 0 || list[0].Cols != 80 || list[0].Rows != 24 ||
		list[0].Owner != "alice@x" || !strings.HasPrefix(list[0].Command, "printf") || list[0].Share != "" {
		t.Errorf("sessions %+v", list)
	}
	before := s.shows(80, 24)
	s.request("detach@cloudssh", nil, true)
	s.ended()
	if want := fmt.Sprintf("detached@cloudssh %q", ssh.Marshal(detachedMessage{1, uint64(a.expires().Unix()), ""})); !strings.Contains(s.told.String(), want) {
		t.Errorf("told %s, want %s", s.told, want)
	}
	if list := sessionsOf(t, client); list[0].Detached == 0 || list[0].Until != a.expires().Unix() {
		t.Errorf("sessions %+v", list)
	}

	// From another machine of the same user, to which the program goes on.
	other, _ := a.mustDial(t, "alice@x", nil)
	back := sit(t, other, 80, 24)
	back.attach(0, false, true)
	back.told.wait(t, `session@cloudssh "\x00\x00\x00\x01"`)
	back.out.wait(t, "red")
	if got := back.shows(80, 24); got != before {
		t.Errorf("screen\n%s\nwant\n%s", got, before)
	}
	for _, want := range []string{"line 1\x1b", "line 2\r", "the title"} {
		if !strings.Contains(strings.ReplaceAll(back.out.String(), "\r", "\x1b\r"), want) && !strings.Contains(back.out.String(), want) {
			t.Errorf("%q is not in %q", want, back.out)
		}
	}
	back.types("one\n")
	back.out.wait(t, "got one")

	// The same user takes it over without the first one's leave.
	third := sit(t, client, 100, 30)
	third.attach(1, false, false)
	back.ended()
	if !strings.Contains(back.told.String(), "attached elsewhere by alice@x") {
		t.Errorf("told %s", back.told)
	}
	third.out.wait(t, "got one")
	if list := sessionsOf(t, client); list[0].Cols != 100 || list[0].Rows != 30 {
		t.Errorf("sessions %+v", list)
	}
	third.types("two\n")
	third.ended()
	if !strings.Contains(third.out.String(), "and two") || !strings.Contains(third.told.String(), exitPayload(7)) {
		t.Errorf("output %q, told %s", third.out, third.told)
	}
	if list := sessionsOf(t, client); len(list) != 0 {
		t.Errorf("sessions %+v", list)
	}
}

func TestAttachRefusals(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	for _, id := range []uint32{0, 1, 99} {
		sit(t, client, 80, 24).request("attach@cloudssh", attachRequest{id, false, false}, false)
	}
	one, two := sit(t, client, 80, 24), sit(t, client, 80, 24)
	one.exec("read x; exit 1")
	one.told.wait(t, "session@cloudssh")
	two.exec("read x; exit 2")
	two.told.wait(t, "session@cloudssh")
	sit(t, client, 80, 24).request("attach@cloudssh", attachRequest{0, false, false}, false) // neither is detached
	one.request("attach@cloudssh", attachRequest{2, false, false}, false)                    // it is one already
	for _, s := range []*seat{one, two} {
		s.request("detach@cloudssh", nil, true)
		s.ended()
	}
	sit(t, client, 80, 24).request("attach@cloudssh", attachRequest{0, false, false}, false) // which one?
	late := sit(t, client, 80, 24)
	late.attach(2, false, false)
	last := sit(t, client, 80, 24)
	last.attach(0, false, false)
	last.types("\n")
	last.ended()
	if !strings.Contains(last.told.String(), exitPayload(1)) {
		t.Errorf("told %s", last.told)
	}
	for _, kind := range []string{"detach@cloudssh", "redraw@cloudssh", "share@cloudssh", "persist@cloudssh", "attach@cloudssh"} {
		bare, requests, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		if ok, err := bare.SendRequest(kind, true, []byte{0, 0}); ok || err != nil {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
		bare.Close()
	}
}

// A client that asked for it may be lost, one that did not takes its session
// along, and so does one that says that it leaves or closes its channel.
func TestLostClients(t *testing.T) {
	for _, tt := range []struct {
		name    string
		persist bool
		end     func(keeper, c *ssh.Client, conn *knownConn, s *seat)
		kept    bool
	}{
		{"lost", true, func(_, _ *ssh.Client, conn *knownConn, _ *seat) { conn.Close() }, true},
		{"said to be gone", true, func(keeper, c *ssh.Client, _ *knownConn, _ *seat) {
			ask(t, keeper, "gone@cloudssh", struct{ ID string }{fmt.Sprintf("%x", c.SessionID())})
		}, true},
		{"lost, as before", false, func(_, _ *ssh.Client, conn *knownConn, _ *seat) { conn.Close() }, false},
		{"left", true, func(_, c *ssh.Client, _ *knownConn, _ *seat) { ask(t, c, "leave@cloudssh", nil); c.Close() }, false},
		{"closed", true, func(_, _ *ssh.Client, _ *knownConn, s *seat) { s.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := startKnown(t, Settings{})
			keeper, _ := a.mustDial(t, "alice@x", nil)
			client, conn := a.mustDial(t, "alice@x", nil)
			s := sit(t, client, 80, 24)
			if tt.persist {
				s.request("persist@cloudssh", struct{ Grace uint32 }{60}, true)
			}
			s.exec("trap 'echo bye; exit' HUP; echo ready; read x; echo got $x; exit 3")
			s.out.wait(t, "ready")
			tt.end(keeper, client, conn, s)
			if !tt.kept {
				a.until(t, "over", func() bool { return len(a.shells.snapshot()) == 0 })
				return
			}
			a.untilDetached(t, 1)
			if info := a.shells.list(caller{})[0]; info.Until-info.Detached != 60 {
				t.Errorf("%+v", info)
			}
			back := sit(t, keeper, 80, 24)
			back.attach(0, false, false)
			back.types("hello\n")
			back.ended()
			if !strings.Contains(back.shows(80, 24), "ready\ngot hello") || !strings.Contains(back.told.String(), exitPayload(3)) {
				t.Errorf("output %q, told %s", back.out, back.told)
			}
		})
	}
}

func TestLostClientsTimeIsOver(t *testing.T) {
	a := startKnown(t, Settings{})
	client, conn := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.request("persist@cloudssh", struct{ Grace uint32 }{1}, true)
	s.exec("echo ready; sleep 1000")
	s.out.wait(t, "ready")
	shell := a.shells.snapshot()[0]
	conn.Close()
	<-shell.ended // by SIGHUP
	if got := shell.status.String(); got != "HUP" {
		t.Errorf("status %s", got)
	}
	shell.mu.Lock()
	defer shell.mu.Unlock()
	if stayed := shell.until.Sub(shell.detachedAt); stayed != time.Second || time.Now().Before(shell.until) {
		t.Errorf("it was to stay for %s, until %s", stayed, shell.until)
	}
}

// What ends while nobody looks is there for who comes.
func TestEndsDetached(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.exec("read x; echo got $x; read y; printf '\\033[1mlast words\\033[m'; exit 9")
	s.told.wait(t, "session@cloudssh")
	s.types("this\n") // of which detaching loses nothing
	s.request("detach@cloudssh", nil, true)
	s.ended()
	shell := a.shells.snapshot()[0]
	a.untilText(t, shell, "got this")
	shell.pty.master.Write([]byte("\n"))
	<-shell.ended
	if connections, detached := a.leave(&connection{server: a.server}); detached != 1 {
		t.Errorf("%d connections, %d detached", connections, detached)
	}
	back := sit(t, client, 80, 24)
	back.attach(0, false, true)
	back.ended()
	if !strings.Contains(back.shows(80, 24), "last words") || !strings.Contains(back.told.String(), exitPayload(9)) {
		t.Errorf("output %q, told %s", back.out, back.told)
	}
	if a.shells.detached() != 0 {
		t.Error("still there")
	}
}

// While nobody is attached the programs' questions are answered here, and only
// then.
func TestAnswersWhileDetached(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.exec(`stty raw; ask() { printf '\033[6n'; dd bs=1 count=6 2>/dev/null | tr -d '\033'; }
		printf 'first '; ask; read x; printf '\033[3;4H'; ask; read x; printf 'third '; ask; printf END; read x; stty sane; exit 0`)
	s.out.wait(t, "first \x1b[6n")
	s.types("\x1b[9;9R") // ours is the terminal
	s.out.wait(t, "[9;9R")
	s.request("detach@cloudssh", nil, true)
	s.ended()
	shell := a.shells.snapshot()[0]
	shell.pty.master.Write([]byte("\n"))
	back := sit(t, client, 80, 24)
	a.untilText(t, shell, "[3;4R")
	back.attach(0, false, false)
	back.types("\n")
	back.out.wait(t, "\x1b[6n")
	back.types("\x1b[7;7R")
	back.out.wait(t, "END")
	if got := back.out.String(); !strings.Contains(got, "[7;7R") || strings.Count(got, "\x1b[6n") != 1 {
		t.Errorf("output %q", got)
	}
	back.types("\n")
	back.ended()
}

// untilText waits for a text on a session's screen.
func (a *knownAgent) untilText(t *testing.T, s *shellSession, want string) {
	t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		text := s.screen.Text()
		s.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-ticks.C:
		case <-timeout:
			t.Fatalf("no %q on\n%s", want, text)
		}
	}
}

// Output of a detached session goes nowhere but to its screen, at full speed;
// that of an attached one waits for its client.
func TestBackPressure(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	stuck, requests, err := client.OpenChannel("session", nil) // whose output nobody reads
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	stuck.SendRequest("pty-req", true, ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{"xterm", 80, 24, 0, 0, ""}))
	if ok, err := stuck.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"head -c 2800000 /dev/zero | tr '\\0' x; echo; echo all of it; read x"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	a.until(t, "there", func() bool { return len(a.shells.snapshot()) == 1 })
	shell := a.shells.snapshot()[0]
	full := func() bool {
		shell.mu.Lock()
		defer shell.mu.Unlock()
		return shell.client != nil && shell.client.queued > maxQueue
	}
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for !full() {
		<-ticks.C
	}
	shell.mu.Lock()
	if queued := shell.client.queued; queued > maxQueue+copySize {
		t.Errorf("%d bytes are queued", queued)
	}
	shell.mu.Unlock()
	start := time.Now()
	other := sit(t, client, 80, 24)
	other.attach(shell.id, false, false)
	other.request("detach@cloudssh", nil, true)
	other.ended()
	a.untilText(t, shell, "x\nall of it")
	t.Logf("the rest in %s while detached", time.Since(start))
}
