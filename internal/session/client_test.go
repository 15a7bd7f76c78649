package session

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestHostKeyIsPinned(t *testing.T) {
	s := &server{}
	conn := s.listen(t)
	other := key(t)
	_, err := New(t.Context(), conn, Config{Signer: key(t), HostKey: other.PublicKey()})
	var mismatch *HostKeyError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a HostKeyError", err)
	}
	if mismatch.Want != ssh.FingerprintSHA256(other.PublicKey()) || mismatch.Got != ssh.FingerprintSHA256(s.signer.PublicKey()) {
		t.Errorf("got %+v", mismatch)
	}
	if !strings.Contains(err.Error(), "another instance") {
		t.Errorf("%q does not say what happened", err)
	}
}

func TestRefusedKeyTellsTheBanner(t *testing.T) {
	s := &server{refuse: true, banner: "this twin is being deleted\n"}
	conn := s.listen(t)
	_, err := New(t.Context(), conn, Config{Signer: key(t), HostKey: s.signer.PublicKey()})
	if err == nil || !strings.Contains(err.Error(), "the agent says: this twin is being deleted") {
		t.Errorf("got %v", err)
	}
}

func TestHandshakeEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, silent := net.Pipe()
		defer silent.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := New(ctx, conn, Config{Signer: key(t), HostKey: key(t).PublicKey()})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if _, err := conn.Write([]byte("x")); err == nil {
			t.Error("the connection was left open")
		}
	})
}

func TestNeedsKeys(t *testing.T) {
	conn, far := net.Pipe()
	defer far.Close()
	if _, err := New(t.Context(), conn, Config{}); err == nil {
		t.Error("a client without keys was made")
	}
}

func TestPrefersAESGCM(t *testing.T) {
	if got := clientConfig(Config{HostKey: key(t).PublicKey()}, nil).Ciphers[0]; got != ssh.CipherAES128GCM {
		t.Errorf("the first cipher is %s", got)
	}
}

func TestUnknownRequest(t *testing.T) {
	c := (&server{}).client(t)
	if _, err := c.Leave(t.Context()); err == nil || !strings.Contains(err.Error(), "does not know or allow leave@cloudssh") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersMayBeLate(t *testing.T) {
	asked, back := make(chan struct{}), make(chan struct{})
	c := (&server{global: func(*ssh.Request) (bool, []byte) {
		asked <- struct{}{}
		<-back // the connection is away meanwhile
		return true, nil
	}}).client(t)
	held := make(chan error, 1)
	go func() { held <- c.Hold(t.Context()) }()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Renew(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	close(back)
	if err := <-held; err != nil {
		t.Error(err)
	}
	go func() { <-asked }()
	if err := c.Hold(t.Context()); err != nil {
		t.Errorf("a question after one that was given up: %v", err)
	}
}

func TestQuestionsToASilentAgentEnd(t *testing.T) {
	s := &server{silent: true}
	c := s.client(t)
	for range 2 { // the second one queues behind the first
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := c.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		cancel()
	}
	select {
	case <-c.Done():
		t.Error("an unanswered question ended the connection")
	default:
	}
	_ = (<-s.conns).Close()
	<-c.Done()
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("a lost connection answered")
	}
}
