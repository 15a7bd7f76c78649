package session

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// answering is a client of an agent that knows one request.
func answering(t *testing.T, request, answer string) (c *Client, payload func() string) {
	t.Helper()
	var (
		mu  sync.Mutex
		got string
	)
	c = (&server{global: func(r *ssh.Request) (bool, []byte) {
		mu.Lock()
		defer mu.Unlock()
		got = string(r.Payload)
		return r.Type == request, []byte(answer)
	}}).client(t)
	return c, func() string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestStatus(t *testing.T) {
	c, _ := answering(t, "status@cloudssh", `{"connections":2,"sessions":3,"detached":1,"holders":1,"started":1790000000,
		"expires":0,"idle_timeout":1800,"request_timeout":3600,"memory":15728640,"version":"v1"}`)
	got, err := c.Status(t.Context())
	want := Status{
		Connections: 2, Sessions: 3, Detached: 1, Holders: 1, Started: time.Unix(1790000000, 0),
		IdleTimeout: 30 * time.Minute, RequestTimeout: time.Hour, Memory: 15 << 20, Version: "v1",
	}
	if err != nil || got != want {
		t.Errorf("status %+v, %v; want %+v", got, err, want)
	}
}

func TestSessions(t *testing.T) {
	c, _ := answering(t, "sessions@cloudssh", `[
		{"id":1,"title":"vim x","command":"vim","started":1790000000,"detached":1790000060,"until":1790003600,
		 "cols":80,"rows":24,"share":"read","viewers":["bob@x (read-only)"],"owner":"alice@x"},
		{"id":7,"title":"","command":"","started":1790000001,"detached":0,"until":0,"cols":1,"rows":2,"share":"","viewers":null,"owner":""}]`)
	got, err := c.Sessions(t.Context())
	want := []Info{
		{
			ID: 1, Title: "vim x", Command: "vim", Owner: "alice@x", Started: time.Unix(1790000000, 0),
			Detached: time.Unix(1790000060, 0), Until: time.Unix(1790003600, 0), Cols: 80, Rows: 24,
			Share: ShareRead, Viewers: []string{"bob@x (read-only)"},
		},
		{ID: 7, Started: time.Unix(1790000001, 0), Cols: 1, Rows: 2},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	c, _ = answering(t, "sessions@cloudssh", `{`)
	if _, err := c.Sessions(t.Context()); err == nil || !strings.Contains(err.Error(), "reading the agent's answer") {
		t.Errorf("got %v", err)
	}
}

func TestLeave(t *testing.T) {
	c, _ := answering(t, "leave@cloudssh", "\x00\x00\x00\x04\x00\x00\x00\x01")
	got, err := c.Leave(t.Context())
	if want := (Remaining{Connections: 4, Detached: 1}); err != nil || got != want || got.None() {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	c, _ = answering(t, "leave@cloudssh", "\x00\x00\x00\x00\x00\x00\x00\x00")
	if got, err := c.Leave(t.Context()); err != nil || !got.None() {
		t.Errorf("got %+v, %v; want none", got, err)
	}
	c, _ = answering(t, "leave@cloudssh", "\x00\x00")
	if _, err := c.Leave(t.Context()); err == nil {
		t.Error("half an answer was understood")
	}
}

// TestTellingTheAgent: what has no answer but yes or no.
func TestTellingTheAgent(t *testing.T) {
	for _, tt := range []struct {
		request, payload string
		tell             func(*Client) error
	}{
		{"hold@cloudssh", "", func(c *Client) error { return c.Hold(t.Context()) }},
		{"gone@cloudssh", "\x00\x00\x00\x04abcd", func(c *Client) error { return c.Gone(t.Context(), "abcd") }},
		{
			"renew@cloudssh", "\x00\x00\x00\x00\x6a\xb1\x3b\x80",
			func(c *Client) error { return c.Renew(t.Context(), time.Unix(0x6ab13b80, 5)) },
		},
	} {
		c, payload := answering(t, tt.request, "")
		if err := tt.tell(c); err != nil || payload() != tt.payload {
			t.Errorf("%s: %v, payload %q, want %q", tt.request, err, payload(), tt.payload)
		}
		stock := (&server{}).client(t)
		if err := tt.tell(stock); err == nil || !strings.Contains(err.Error(), "the agent does not know or allow "+tt.request) {
			t.Errorf("a stock server: %v", err)
		}
	}
}

func TestID(t *testing.T) {
	s := &server{id: make(chan []byte, 1)}
	c := s.client(t)
	if want := hex.EncodeToString(<-s.id); c.ID() != want || want == "" {
		t.Errorf("got %q, want %q", c.ID(), want)
	}
}

func TestDial(t *testing.T) {
	asked := make(chan string, 1)
	c := (&server{forward: func(nc ssh.NewChannel) {
		var m struct {
			Host       string
			Port       uint32
			Originator string
			OriginPort uint32
		}
		if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
			t.Error(err)
		}
		if m.Port == 1 {
			_ = nc.Reject(ssh.ConnectionFailed, "connection refused")
			return
		}
		asked <- fmt.Sprintf("%s %s:%d", nc.ChannelType(), m.Host, m.Port)
		ch, reqs, err := nc.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		go ssh.DiscardRequests(reqs)
		_, _ = io.Copy(ch, ch)
		_ = ch.Close()
	}}).client(t)
	conn, err := c.Dial(t.Context(), "tcp", "localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "direct-tcpip localhost:8080" || conn.RemoteAddr().String() != "localhost:8080" {
		t.Errorf("asked for %s, connected to %v", got, conn.RemoteAddr())
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Error(err)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		t.Error("the connection cannot be half-closed")
	}
	if echo, err := io.ReadAll(conn); err != nil || string(echo) != "hello" {
		t.Errorf("got %q, %v", echo, err)
	}
	if err := conn.SetDeadline(time.Now()); err == nil {
		t.Error("a deadline was taken")
	}
	for address, says := range map[string]string{
		"localhost:1": "connecting to localhost:1 through the agent: connection refused",
		"localhost":   "missing port",
		"localhost:x": "reading the port",
	} {
		if _, err := c.Dial(t.Context(), "tcp", address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := c.Dial(t.Context(), "udp", "localhost:1"); err == nil {
		t.Error("UDP was dialled")
	}
}
