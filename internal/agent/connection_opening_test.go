//go:build linux

package agent

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// knock starts a handshake and says nothing.
func (a *knownAgent) knock(t *testing.T, principal, id string) (client net.Conn, ended <-chan struct{}) {
	t.Helper()
	client, server := memPipe()
	conn := &knownConn{Conn: server, principal: principal, id: id}
	if !a.admit(conn) {
		t.Fatal("not admitted")
	}
	done := make(chan struct{})
	a.running.Go(func() {
		defer close(done)
		a.handle(conn)
	})
	t.Cleanup(func() { client.Close() })
	return client, done
}

// Half-open connections give way to newer ones, and none is the owner's while
// there are others.
func TestHalfOpenConnectionsGiveWay(t *testing.T) {
	a := startKnown(t, Settings{Owner: "alice@example.com"})
	_, owner := a.knock(t, "Alice@Example.com", "a0")
	_, first := a.knock(t, "", "a1")
	for range 1000 {
		a.knock(t, "mallory@example.com", "")
	}
	<-first
	a.mustDial(t, "", nil)
	select {
	case <-owner:
		t.Error("the owner's was displaced before others")
	default:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.opening) > maxOpening || len(a.conns) != 1 {
		t.Errorf("%d half-open connections, %d connections", len(a.opening), len(a.conns))
	}
}

func TestHandshakeTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		says  string
		after time.Duration
	}{
		"says nothing":     {"", greetingTimeout},
		"only its version": {"SSH-2.0-slow\r\n", handshakeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := startKnown(t, Settings{})
				client, server := net.Pipe()
				if !a.admit(server) {
					t.Fatal("not admitted")
				}
				begun := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					a.handle(server)
				}()
				go io.WriteString(client, tt.says)
				buf := make([]byte, 1<<10)
				for { // reads all that the agent says
					if _, err := client.Read(buf); err != nil {
						break
					}
				}
				<-done
				if took := time.Since(begun); took != tt.after {
					t.Errorf("it was dropped after %s, want %s", took, tt.after)
				}
			})
		})
	}
}

func TestLeaveWaitsForLogins(t *testing.T) {
	a := startKnown(t, Settings{})
	last, _ := a.mustDial(t, "", nil)
	client, _ := a.knock(t, "", "a1")
	answered := make(chan string, 1)
	go func() {
		_, answer, _ := last.SendRequest("leave@cloudssh", true, nil)
		answered <- string(answer)
	}()
	c, chans, reqs, err := ssh.NewClientConn(client, "pipe", &ssh.ClientConfig{
		Auth: []ssh.AuthMethod{ssh.PublicKeys(a.signer)}, HostKeyCallback: ssh.FixedHostKey(a.host),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.NewClient(c, chans, reqs).Close()
	if got := <-answered; got != "\x00\x00\x00\x01\x00\x00\x00\x00" {
		t.Errorf("%x stay, want the one that was logging in", got)
	}
}

// A login that does not come to an end keeps the twin; one whose client is out of
// reach does not.
func TestLeaveCountsSlowLogins(t *testing.T) {
	for want, lost := range map[string]bool{"\x00\x00\x00\x01": false, "\x00\x00\x00\x00": true} {
		synctest.Test(t, func(t *testing.T) {
			a := startKnown(t, Settings{})
			_, server := memPipe()
			conn := &knownConn{Conn: server}
			if lost {
				conn.lose()
			}
			if !a.admit(conn) {
				t.Fatal("not admitted")
			}
			_, other := memPipe()
			if n, _ := a.leave(&connection{server: a.server, stream: other}); string([]byte{0, 0, 0, byte(n)}) != want {
				t.Errorf("lost %v: %d stay", lost, n)
			}
			if a.isRefusing() != lost {
				t.Errorf("lost %v: refusing %v", lost, a.isRefusing())
			}
		})
	}
}

func TestGoneByStream(t *testing.T) {
	a := startKnown(t, Settings{})
	guard, _ := a.mustDial(t, "guard", nil)
	a.mustDial(t, "dead", nil)
	_, half := a.knock(t, "", "ab12")
	for id, want := range map[string]bool{"stream-of-guard": false, "STREAM-of-dead": true, "AB12": true, "ab13": false} {
		if ok, _ := ask(t, guard, "gone@cloudssh", struct{ ID string }{id}); ok != want {
			t.Errorf("gone %s: %v", id, ok)
		}
	}
	<-half
	if _, answer := ask(t, guard, "leave@cloudssh", nil); strings.Trim(string(answer), "\x00") != "" {
		t.Errorf("%x stay", answer)
	}
}

// Guests leave room for owners.
func TestGuestLimit(t *testing.T) {
	a := startKnown(t, Settings{})
	owner, guest := &connection{}, &connection{caller: caller{guest: true}}
	conns := make(map[*connection]bool)
	for i := range maxConnections {
		if i == maxGuests && (a.room(guest) || !a.room(owner)) {
			t.Errorf("with %d guests: room for a guest %v, for an owner %v", i, a.room(guest), a.room(owner))
		}
		conns[&connection{caller: caller{guest: i < maxGuests}}] = true
		a.conns = conns
	}
	if a.room(owner) {
		t.Errorf("room for more than %d", maxConnections)
	}
	a.conns = nil
}
