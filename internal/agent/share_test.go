//go:build linux

package agent

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func (s *seat) share(mode shareMode) {
	s.t.Helper()
	s.request("share@cloudssh", struct{ Mode uint32 }{uint32(mode)}, true)
}

func TestShare(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	owner := sit(t, client, 80, 24)
	owner.exec("printf 'hello '; while read x; do echo \"got $x\"; done; exit 4")
	owner.out.wait(t, "hello")
	stranger, _ := newSigner(t)
	if _, _, err := a.dial(t, "bob@x", stranger); err == nil {
		t.Fatal("a stranger came in though nothing is shared")
	}
	owner.request("share@cloudssh", struct{ Mode uint32 }{3}, false)
	owner.share(shareRead)

	guest, _ := a.mustDial(t, "bob@x", stranger)
	list := sessionsOf(t, guest)
	if len(list) != 1 || list[0].Share != "read" {
		t.Errorf("sessions %+v", list)
	}
	sit(t, guest, 80, 24).request("shell", nil, false)
	sit(t, guest, 80, 24).request("exec", struct{ Command string }{"id"}, false)
	sit(t, guest, 80, 24).request("attach@cloudssh", attachRequest{1, false, false}, false) // not in that mode
	reader := sit(t, guest, 60, 10)
	reader.attach(1, true, true)
	reader.out.wait(t, "hello")
	reader.told.wait(t, "80 columns and 24 lines")
	owner.told.wait(t, "bob@x (read-only) joined")
	reader.types("ignored\n")
	reader.request("signal", struct{ Name string }{"KILL"}, false)
	reader.request("share@cloudssh", struct{ Mode uint32 }{2}, false)
	owner.types("one\n")
	for _, s := range []*seat{owner, reader} {
		s.out.wait(t, "got one")
	}
	if list := sessionsOf(t, client); len(list[0].Viewers) != 1 || list[0].Viewers[0] != "bob@x (read-only)" || list[0].Cols != 80 {
		t.Errorf("sessions %+v", list)
	}

	owner.share(shareWrite)
	writer := sit(t, guest, 80, 24)
	writer.attach(0, false, false)
	owner.told.wait(t, `"\x00\x00\x00\fbob@x joined"`)
	writer.types("two\n")
	for _, s := range []*seat{owner, reader, writer} {
		s.out.wait(t, "got two")
	}
	// Less than before: who may write leaves, who reads stays.
	owner.share(shareRead)
	writer.ended()
	if !strings.Contains(writer.told.String(), "not shared any more") {
		t.Errorf("told %s", writer.told)
	}
	owner.told.wait(t, "bob@x left")
	reader.request("redraw@cloudssh", nil, true)
	reader.Close()
	owner.told.wait(t, "bob@x (read-only) left")

	// The owner may look on, too, and the end is told to all.
	mirror := sit(t, client, 80, 24)
	mirror.attach(1, true, false)
	mirror.out.wait(t, "got two")
	owner.types("\x04")
	owner.ended()
	mirror.ended()
	for _, s := range []*seat{owner, mirror} {
		if strings.Contains(s.out.String(), "ignored") || !strings.Contains(s.told.String(), exitPayload(4)) {
			t.Errorf("output %q, told %s", s.out, s.told)
		}
	}
}

// A viewer's terminal is asked nothing: two would answer.
func TestViewersAreNotAsked(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	owner := sit(t, client, 80, 24)
	owner.exec("read x; printf 'A\\033[6nB\\033[c\\033[1mC'; read x")
	owner.told.wait(t, "session@cloudssh")
	viewer := sit(t, client, 80, 24)
	viewer.attach(1, true, false)
	owner.types("\n")
	viewer.out.wait(t, "C")
	owner.out.wait(t, "C")
	if got := viewer.out.String(); !strings.HasSuffix(got, "AB\x1b[1mC") {
		t.Errorf("the viewer got %q", got)
	}
	if got := owner.out.String(); !strings.HasSuffix(got, "A\x1b[6nB\x1b[c\x1b[1mC") {
		t.Errorf("the owner got %q", got)
	}
}

// A viewer that does not read holds up nobody, and sees what there is when it
// reads again.
func TestSlowViewer(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	owner := sit(t, client, 80, 24)
	owner.exec("read x; head -c 2800000 /dev/zero | tr '\\0' x; echo the end; read x")
	owner.told.wait(t, "session@cloudssh")
	viewing, _ := a.mustDial(t, "alice@x", nil)
	slow, requests, err := viewing.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := slow.SendRequest("attach@cloudssh", true, ssh.Marshal(attachRequest{1, true, false})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	owner.types("\n")
	shell := a.shells.snapshot()[0]
	a.untilText(t, shell, "the end")
	owner.out.wait(t, "the end")
	shell.mu.Lock()
	for v := range shell.viewers {
		if v.queued > maxViewerQueue {
			t.Errorf("%d bytes wait for the viewer", v.queued)
		}
	}
	shell.mu.Unlock()
	seen := &seat{Channel: slow, t: t, out: newSyncBuffer()}
	go func() {
		buf := make([]byte, copySize)
		for {
			n, err := slow.Read(buf)
			seen.out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	seen.out.wait(t, "the end")
	if got := len(seen.out.String()); got > 4<<20 {
		t.Errorf("the viewer got %d bytes", got)
	}
	if got, want := seen.shows(80, 24), owner.shows(80, 24); !strings.HasPrefix(got, want) {
		t.Errorf("the viewer sees\n%s\nthe owner\n%s", got, want)
	}
}

// What is on the screen is sent again, in its place among the output.
func TestRedrawRequest(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.exec("printf '\\033[?1049h\\033[2;3H\\033[32mgreen'; read x; printf more; read x")
	s.out.wait(t, "green")
	before := s.shows(80, 24)
	s.request("redraw@cloudssh", nil, true)
	s.out.wait(t, "\x1b[?2026l")
	if got := s.shows(80, 24); got != before {
		t.Errorf("screen\n%s\nwant\n%s", got, before)
	}
	s.types("\n")
	s.out.wait(t, "more")
	if got := s.shows(80, 24); !strings.Contains(got, "greenmore") {
		t.Errorf("screen\n%s", got)
	}
}

// The end of the instance is told to whoever looks on, and reaches sessions
// that nobody looks at.
func TestShutdownWithDetached(t *testing.T) {
	a := startKnown(t, Settings{})
	client, _ := a.mustDial(t, "alice@x", nil)
	s := sit(t, client, 80, 24)
	s.exec("trap 'echo bye; exit 5' HUP TERM; echo ready; while :; do sleep 0.01; done")
	s.out.wait(t, "ready")
	s.request("detach@cloudssh", nil, true)
	s.ended()
	stubborn := sit(t, client, 80, 24)
	stubborn.exec("trap '' HUP TERM; echo ready; while :; do sleep 0.01; done")
	stubborn.out.wait(t, "ready")
	stubborn.request("detach@cloudssh", nil, true)
	stubborn.ended()
	shells := a.shells.snapshot()
	a.shells.terminate()
	sit(t, client, 80, 24).request("attach@cloudssh", attachRequest{2, false, false}, false)
	<-shells[0].ended
	if got := shells[0].status.String(); got != "5" {
		t.Errorf("status %s", got)
	}
	a.shells.kill()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	a.shells.await(timer.C)
	if got := shells[1].status.String(); got != "KILL" {
		t.Errorf("status %s", got)
	}
}
