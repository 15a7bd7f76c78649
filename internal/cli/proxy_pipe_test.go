package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeAgent is a stream whose other end a test has.
type fakeAgent struct {
	says chan []byte // closed: it has ended its side

	mu      sync.Mutex
	heard   bytes.Buffer
	fin     chan struct{}
	aborted chan struct{}
	finOnce sync.Once
	end     sync.Once
	err     error // of Read after the end of says; nil means io.EOF
}

func newFakeAgent() *fakeAgent {
	return &fakeAgent{says: make(chan []byte, 16), fin: make(chan struct{}), aborted: make(chan struct{})}
}

func (f *fakeAgent) Read(p []byte) (int, error) {
	select {
	case text, ok := <-f.says:
		if ok {
			return copy(p, text), nil
		}
		if f.err != nil {
			return 0, f.err
		}
		return 0, io.EOF
	case <-f.aborted:
		return 0, net.ErrClosed
	}
}

func (f *fakeAgent) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard.Write(p)
}

func (f *fakeAgent) CloseWrite() error {
	f.finOnce.Do(func() { close(f.fin) })
	return nil
}

func (f *fakeAgent) Abort() error {
	f.end.Do(func() { close(f.aborted) })
	return nil
}

func (f *fakeAgent) got() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard.String()
}

// sink is a client's side of our standard output.
type sink struct {
	bytes.Buffer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func (*sink) Close() error { return nil }

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, out := newFakeAgent(), &sink{}
		in, client := io.Pipe()
		p := newPipe(in, out, "", func() {})
		carried := make(chan error)
		go func() { carried <- p.carry(t.Context(), agent) }()
		mustWrite(t, client, "SSH-2.0-client\r\n")
		agent.says <- []byte("SSH-2.0-agent\r\n")
		synctest.Wait()
		mustWrite(t, client, "more")
		_ = client.Close()
		<-agent.fin
		agent.says <- []byte("last words")
		close(agent.says)
		if err := <-carried; err != nil {
			t.Error(err)
		}
		if got := agent.got(); got != "SSH-2.0-client\r\nmore" {
			t.Errorf("the agent got %q", got)
		}
		if got := out.String(); got != "SSH-2.0-agent\r\nlast words" {
			t.Errorf("the client got %q", got)
		}
		if p.said != nil {
			t.Errorf("%q is still kept", p.said)
		}
	})
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// TestPipeToAnother: an agent that ends without a word is replaced, and the
// client does not notice.
func TestPipeToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, client := io.Pipe()
		p := newPipe(in, &sink{}, "", func() {})
		first, second := newFakeAgent(), newFakeAgent()
		carried := make(chan error)
		go func() { carried <- p.carry(t.Context(), first) }()
		mustWrite(t, client, "SSH-2.0-")
		mustWrite(t, client, "client\r\n")
		synctest.Wait()
		close(first.says)
		if err := <-carried; err != nil || !p.unheard() {
			t.Errorf("not heard: %v, %v", p.unheard(), err)
		}
		go func() { carried <- p.carry(t.Context(), second) }()
		mustWrite(t, client, "more")
		second.says <- []byte("at last")
		synctest.Wait()
		mustWrite(t, client, ", and more")
		_ = client.Close()
		<-second.fin
		close(second.says)
		if err := <-carried; err != nil || p.unheard() {
			t.Errorf("not heard: %v, %v", p.unheard(), err)
		}
		if got := second.got(); got != "SSH-2.0-client\r\nmore, and more" {
			t.Errorf("the second agent got %q", got)
		}
	})
}

// TestPipeEnds, whoever is slow or gone.
func TestPipeEnds(t *testing.T) {
	lost := errors.New("lost for good")
	for name, c := range map[string]struct {
		do   func(cancel context.CancelFunc, agent *fakeAgent, client io.Closer, out *sink)
		want error
		last time.Duration
	}{
		"an agent that does not end its side": {func(_ context.CancelFunc, _ *fakeAgent, client io.Closer, _ *sink) { _ = client.Close() }, nil, lastWords},
		"a signal":                            {func(cancel context.CancelFunc, _ *fakeAgent, _ io.Closer, _ *sink) { cancel() }, nil, lastWords},
		"a signal that the agent answers": {func(cancel context.CancelFunc, agent *fakeAgent, _ io.Closer, _ *sink) {
			cancel()
			<-agent.fin
			close(agent.says)
		}, nil, 0},
		"a client that does not read": {func(_ context.CancelFunc, agent *fakeAgent, _ io.Closer, out *sink) {
			out.err = os.ErrClosed
			agent.says <- []byte("x")
		}, nil, 0},
		"a stream that is lost": {func(_ context.CancelFunc, agent *fakeAgent, _ io.Closer, _ *sink) {
			agent.err = lost
			close(agent.says)
		}, lost, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				agent, out := newFakeAgent(), &sink{}
				in, client := io.Pipe()
				defer client.Close()
				p := newPipe(in, out, "", func() {})
				start := time.Now()
				carried := make(chan error)
				go func() { carried <- p.carry(ctx, agent) }()
				synctest.Wait()
				c.do(cancel, agent, client, out)
				if err := <-carried; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if took := time.Since(start); took != c.last {
					t.Errorf("it takes %s, want %s", took, c.last)
				}
				<-agent.aborted
			})
		})
	}
}

// TestPipeKeepsLittle: a client that talks on and on to an agent that does not
// answer is not kept in memory.
func TestPipeKeepsLittle(t *testing.T) {
	p := newPipe(strings.NewReader(strings.Repeat("x", 3*maxUnanswered+1)), &sink{}, "", func() {})
	agent := newFakeAgent()
	go func() {
		<-agent.fin
		close(agent.says)
	}()
	if err := p.carry(t.Context(), agent); err != nil {
		t.Error(err)
	}
	if len(p.said) > 0 || p.unheard() || len(agent.got()) != 3*maxUnanswered+1 {
		t.Errorf("%d bytes are kept, the agent got %d", len(p.said), len(agent.got()))
	}
}

// TestPipeGreets at once, and takes the same greeting of the agent for nothing
// new, in whatever pieces it comes.
func TestPipeGreets(t *testing.T) {
	const greeting = "SSH-2.0-agent\r\n"
	for name, c := range map[string]struct {
		says []string
		want string
		err  error
	}{
		"at once":   {[]string{greeting + "more"}, greeting + "more", nil},
		"in pieces": {[]string{"SSH-", "2.0-agent\r", "\n", "more"}, greeting + "more", nil},
		"other":     {[]string{"SSH-2.0-other\r\nmore"}, greeting, errGreeting},
		"none":      {nil, greeting, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, client := io.Pipe()
				defer client.Close()
				out, agent := &sink{}, newFakeAgent()
				p := newPipe(in, out, greeting, func() { t.Error("the client has not left") })
				if out.String() != greeting {
					t.Errorf("the client is greeted by %q", out.String())
				}
				for _, text := range c.says {
					agent.says <- []byte(text)
				}
				close(agent.says)
				if err := p.carry(t.Context(), agent); !errors.Is(err, c.err) {
					t.Errorf("%v, want %v", err, c.err)
				}
				if got := out.String(); got != c.want {
					t.Errorf("the client got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestPipeLeftEarly: a client that ends before there is a twin needs none.
func TestPipeLeftEarly(t *testing.T) {
	left := make(chan struct{})
	p := newPipe(strings.NewReader("SSH-2.0-client\r\n"), &sink{}, "", func() { close(left) })
	<-left
	<-p.ended
}

func TestGreetingOf(t *testing.T) {
	for version, want := range map[string]string{
		"":                        "SSH-2.0-cloudssh_devel\r\n",
		"v1.2.3-rc.1 x":           "SSH-2.0-cloudssh_v1.2.3_rc.1_x\r\n",
		strings.Repeat("v", 1000): "SSH-2.0-cloudssh_" + strings.Repeat("v", 100) + "\r\n",
	} {
		if got := greetingOf(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}
