//go:build linux

package agent

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// A knownConn is a connection below which somebody knows the caller, and that
// can lose its client.
type knownConn struct {
	net.Conn
	principal string
	id        string

	mu      sync.Mutex
	lost    time.Time
	aborted bool
}

func (c *knownConn) Principal() string { return c.principal }

func (c *knownConn) Detached() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost, !c.lost.IsZero()
}

func (c *knownConn) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = time.Now()
}

func (c *knownConn) ID() string { return c.id }

func (c *knownConn) Abort() error {
	c.mu.Lock()
	c.aborted = true
	c.mu.Unlock()
	return c.Close()
}

var _ Conn = (*knownConn)(nil)

// A knownAgent is an agent whose connections are knownConns.
type knownAgent struct {
	*server
	host   ssh.PublicKey
	signer ssh.Signer // the authorized one
}

func (s *server) isRefusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusing
}

func startKnown(t *testing.T, settings Settings) *knownAgent {
	t.Helper()
	signer, _ := newSigner(t)
	host, _ := newSigner(t)
	settings.AuthorizedKeys = []string{string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}
	s, err := newServer(Config{Settings: settings, HostKey: host, Environ: testEnviron(), hangup: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.closeConnections()
		s.children.close()
	})
	return &knownAgent{s, host.PublicKey(), signer}
}

// dial logs in with a key; nil is the authorized one.
func (a *knownAgent) dial(t *testing.T, principal string, key ssh.Signer) (*ssh.Client, *knownConn, error) {
	t.Helper()
	if key == nil {
		key = a.signer
	}
	client, server := memPipe()
	conn := &knownConn{Conn: server, principal: principal, id: "stream-of-" + principal}
	if !a.admit(conn) {
		t.Fatal("no more connections")
	}
	a.running.Go(func() { a.handle(conn) })
	c, chans, reqs, err := ssh.NewClientConn(client, "pipe", &ssh.ClientConfig{
		Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(a.host),
	})
	if err != nil {
		return nil, nil, err
	}
	sc := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { sc.Close() })
	if _, _, err := sc.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Fatal(err)
	}
	return sc, conn, nil
}

func (a *knownAgent) mustDial(t *testing.T, principal string, key ssh.Signer) (*ssh.Client, *knownConn) {
	t.Helper()
	client, conn, err := a.dial(t, principal, key)
	if err != nil {
		t.Fatal(err)
	}
	return client, conn
}

func ask(t *testing.T, c *ssh.Client, name string, payload any) (bool, []byte) {
	t.Helper()
	var text []byte
	if payload != nil {
		text = ssh.Marshal(payload)
	}
	ok, answer, err := c.SendRequest(name, true, text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return ok, answer
}

func statusOf(t *testing.T, c *ssh.Client) (st Status) {
	t.Helper()
	ok, text := ask(t, c, "status@cloudssh", nil)
	if err := json.Unmarshal(text, &st); !ok || err != nil {
		t.Fatalf("status: %v, %v", ok, err)
	}
	return st
}

func TestWhoMayLogIn(t *testing.T) {
	a := startKnown(t, Settings{Owner: "Alice@example.com"})
	other, _ := newSigner(t)
	for _, tt := range []struct {
		principal string
		key       ssh.Signer
		ok        bool
	}{
		{"", nil, true},
		{"bob@example.com", nil, true}, // who has the key was given it
		{"alice@example.com", other, true},
		{"bob@example.com", other, false},
		{"", other, false},
	} {
		_, _, err := a.dial(t, tt.principal, tt.key)
		if (err == nil) != tt.ok {
			t.Errorf("%q with a key that is authorized: %v; %v", tt.principal, tt.key == nil, err)
		}
	}
	b := startKnown(t, Settings{})
	if _, _, err := b.dial(t, "", other); err == nil {
		t.Error("nobody is the owner that was not named")
	}
}

// guest is a connection like those that come in while a session is shared.
func (a *knownAgent) guest(t *testing.T) *ssh.Client {
	t.Helper()
	client, _ := a.mustDial(t, "bob@example.com", nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.caller.guest = true
	}
	return client
}

func TestGuestsAreRefused(t *testing.T) {
	a := startKnown(t, Settings{})
	client := a.guest(t)
	for _, name := range []string{"leave@cloudssh", "hold@cloudssh", "gone@cloudssh", "renew@cloudssh", "status@cloudssh"} {
		if ok, _ := ask(t, client, name, nil); ok {
			t.Errorf("a guest may %s", name)
		}
	}
	if ok, list := ask(t, client, "sessions@cloudssh", nil); !ok || string(list) != "[]" {
		t.Errorf("sessions: %v, %s", ok, list)
	}
}

func TestHoldersDoNotCount(t *testing.T) {
	a := startKnown(t, Settings{})
	guard, _ := a.mustDial(t, "", nil)
	client, _ := a.mustDial(t, "", nil)
	if ok, _ := ask(t, guard, "hold@cloudssh", nil); !ok {
		t.Fatal("hold@cloudssh refused")
	}
	if st := statusOf(t, client); st.Holders != 1 || st.Connections != 2 {
		t.Errorf("status %+v", st)
	}
	_, answer := ask(t, client, "leave@cloudssh", nil)
	if string(answer) != string(make([]byte, 8)) {
		t.Errorf("with a guard alone, %x stay", answer)
	}
	if !a.isRefusing() {
		t.Error("newcomers are taken")
	}
}

func TestGone(t *testing.T) {
	a := startKnown(t, Settings{})
	guard, _ := a.mustDial(t, "", nil)
	dead, conn := a.mustDial(t, "", nil)
	conn.lose()
	for _, id := range []string{"", "00", hex.EncodeToString(guard.SessionID())} {
		if ok, _ := ask(t, guard, "gone@cloudssh", struct{ ID string }{id}); ok {
			t.Errorf("%q is gone", id)
		}
	}
	if ok, _ := ask(t, guard, "gone@cloudssh", struct{ ID string }{hex.EncodeToString(dead.SessionID())}); !ok {
		t.Fatal("gone@cloudssh refused")
	}
	if err := dead.Wait(); err == nil {
		t.Error("the connection lives on")
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if !conn.aborted {
		t.Error("the stream was not aborted")
	}
}

func TestRenew(t *testing.T) {
	now := time.Now()
	a := startKnown(t, Settings{Expires: now.Add(time.Hour).Unix()})
	client, _ := a.mustDial(t, "", nil)
	renew := func(end time.Time) bool {
		ok, _ := ask(t, client, "renew@cloudssh", struct{ Expires uint64 }{uint64(end.Unix())})
		return ok
	}
	later := now.Add(8 * time.Hour)
	if !renew(later) || statusOf(t, client).Expires != later.Unix() {
		t.Error("not renewed")
	}
	if !renew(now) || statusOf(t, client).Expires != later.Unix() {
		t.Error("renewed to an earlier end")
	}
	if renew(now.Add(31*24*time.Hour)) || statusOf(t, client).Expires != later.Unix() {
		t.Error("renewed for ever")
	}
	if ok, _ := ask(t, client, "renew@cloudssh", nil); ok {
		t.Error("renewed without an end")
	}
	free := startKnown(t, Settings{})
	client, _ = free.mustDial(t, "", nil)
	if !renew(later) || statusOf(t, client).Expires != 0 {
		t.Error("a twin without a lease got one")
	}
}

// A client that is lost does not keep the twin, unless the platform keeps it.
func TestIdleCountsLostClients(t *testing.T) {
	for minimum, idle := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := startKnown(t, Settings{IdleTimeout: 1800, MinInstances: minimum})
			_, one := a.mustDial(t, "", nil)
			_, two := a.mustDial(t, "", nil)
			check := func(want bool) {
				t.Helper()
				if wait, limit := a.nextLimit(time.Now()); limit != nil != want || limit == nil && (wait <= 0 || wait > maxWait) {
					t.Errorf("minimum %d: limit %v, else in %s", minimum, limit, wait)
				}
			}
			one.lose()
			pass(time.Hour)
			check(false)
			two.lose()
			pass(29 * time.Minute)
			check(false)
			pass(time.Minute)
			check(idle)
		})
	}
}

func TestRenewedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, ended := limited(t, Settings{Expires: time.Now().Add(time.Hour).Unix()})
		client := dial()
		pass(30 * time.Minute)
		ask(t, client, "renew@cloudssh", struct{ Expires uint64 }{uint64(time.Now().Add(2 * time.Hour).Unix())})
		if took := ended(); took.Round(time.Second) != 150*time.Minute {
			t.Errorf("the agent ended after %s", took)
		}
	})
}

func TestForward(t *testing.T) {
	f := start(t, nil)
	client := f.dial(t)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				all, _ := io.ReadAll(conn) // to the half-close
				fmt.Fprintf(conn, "got %d bytes", len(all))
			}()
		}
	}()
	var several sync.WaitGroup
	for range 20 {
		several.Go(func() {
			conn, err := client.Dial("tcp", target.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := conn.Write(make([]byte, 300_000)); err != nil {
				t.Error(err)
			}
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			answer, err := io.ReadAll(conn)
			if string(answer) != "got 300000 bytes" || err != nil {
				t.Errorf("answer %q, %v", answer, err)
			}
		})
	}
	several.Wait()
	target.Close()
	var refused *ssh.OpenChannelError
	if _, err := client.Dial("tcp", target.Addr().String()); !errors.As(err, &refused) || refused.Reason != ssh.ConnectionFailed ||
		!strings.Contains(refused.Message, "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	if _, _, err := client.OpenChannel("direct-tcpip", nil); !errors.As(err, &refused) || refused.Reason != ssh.ConnectionFailed {
		t.Errorf("malformed: %v", err)
	}
}

// What a client sent before it closed arrives; then the target is let go, and
// when the connection ends, too.
func TestForwardEnds(t *testing.T) {
	f := start(t, nil)
	for name, end := range map[string]func(client *ssh.Client, conn net.Conn){
		"channel":    func(_ *ssh.Client, conn net.Conn) { conn.Close() },
		"connection": func(client *ssh.Client, _ net.Conn) { client.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			client := f.dial(t)
			target, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			conn, err := client.Dial("tcp", target.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			server, err := target.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if _, err := conn.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 10)
			if _, err := io.ReadFull(server, got); err != nil || string(got) != "last words" {
				t.Fatalf("read %q, %v", got, err)
			}
			end(client, conn)
			if err := server.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if n, err := server.Read(got); err == nil || isTimeout(err) {
				t.Errorf("the target reads %d bytes, %v", n, err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
