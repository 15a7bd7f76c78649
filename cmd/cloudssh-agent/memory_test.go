//go:build linux

package main

import (
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
)

// status asks the agent about itself.
func (r *running) status(t *testing.T, client *ssh.Client) (st agent.Status) {
	t.Helper()
	_, text, err := client.SendRequest("status@cloudssh", true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &st); err != nil {
		t.Fatalf("status %q: %v", text, err)
	}
	return st
}

// terminal starts a program on a terminal, and returns when it runs.
func (r *running) terminal(t *testing.T, client *ssh.Client) {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := s.StdinPipe(); err != nil { // which nobody closes
		t.Error(err)
		return
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Error(err)
		return
	}
	if err := s.Start("echo ready; exec cat"); err != nil {
		t.Error(err)
		return
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\r\n"))); err != nil {
		t.Error(err)
	}
}

// Five hundred people on one agent, each with a connection and a terminal of his own.
func TestFiveHundredSessions(t *testing.T) {
	t.Parallel()
	const sessions = 500
	r := launch(t, build(t), agent.Settings{})
	first := r.dial(t)
	r.terminal(t, first)
	one := r.status(t, first).Memory
	jobs := make(chan struct{})
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range jobs {
				r.terminal(t, r.dial(t))
			}
		})
	}
	for range sessions - 1 {
		jobs <- struct{}{}
	}
	close(jobs)
	workers.Wait()
	st := r.status(t, first)
	if st.Connections != sessions || st.Sessions != sessions {
		t.Fatalf("status %+v", st)
	}
	each := (st.Memory - one) / (sessions - 1)
	t.Logf("one session: %d KiB; each more: %d KiB", one>>10, each>>10)
	if one > 15<<20 {
		t.Errorf("with one session the agent takes %d KiB", one>>10)
	}
	if each > 3<<19 {
		t.Errorf("each session takes %d KiB", each>>10)
	}
}

func TestCalmness(t *testing.T) {
	const mib = 1 << 20
	var c calmness
	var now uint64
	for i, tt := range []struct {
		allocated uint64
		want      bool
	}{
		// Little: not worth it.
		{1 * mib, false},
		{0, false},
		// A transfer goes on.
		{100 * mib, false},
		{80 * mib, false},
		// It is over.
		{0, true},
		{0, true},
		{1000, false},
		{0, true},
		{0, false},
		{0, false},
		{0, false},
		{0, false},
		{0, false},
		{0, true},
		{0, false},
		{0, false},
		{0, false},
		// Others.
		{100 * mib, false},
		{0, true},
		{100 * mib, false},
		{0, true},
		{0, true},
	} {
		now += tt.allocated
		if got := c.next(now); got != tt.want {
			t.Errorf("look %d, %d bytes later: %v, want %v", i, tt.allocated, got, tt.want)
		}
	}
}

// What a transfer takes is given back when it is over, though the connection stays.
func TestMemoryReturns(t *testing.T) {
	t.Parallel()
	r := launch(t, build(t), agent.Settings{})
	client := r.dial(t)
	r.terminal(t, client)
	before := r.status(t, client).Memory
	var transfers sync.WaitGroup
	for range 4 {
		transfers.Go(func() {
			s, err := client.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			s.Stdout = io.Discard
			if err := s.Run("head -c 25000000 /dev/zero"); err != nil {
				t.Error(err)
			}
		})
	}
	transfers.Wait()
	peak := r.status(t, client).Memory
	timeout := time.After(2 * patience)
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for now := peak; ; now = r.status(t, client).Memory {
		if now < before+4<<20 {
			t.Logf("%d KiB before, %d KiB right after, %d KiB later", before>>10, peak>>10, now>>10)
			return
		}
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%d KiB before, %d KiB right after, %d KiB in the end", before>>10, peak>>10, now>>10)
		}
	}
}
