package session_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
	"github.com/cloudssh/cloudssh/internal/screen"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
)

const owner = "alice@example.com"

// patience is how long tests wait for what has to come.
const patience = 2 * time.Minute

// twin is a real agent, which is served on connections that the test makes.
type twin struct {
	t     *testing.T
	host  ssh.Signer
	mine  ssh.Signer // the authorized key
	conns chan net.Conn
	stop  context.CancelFunc
	end   sync.Once
	ended chan struct{}
}

// caller is the agent's end of a connection whose client the front door knows.
type caller struct {
	net.Conn
	name string
}

func (c caller) Principal() string { return c.name }

func (w *twin) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.ended:
		return nil, net.ErrClosed
	}
}

func (w *twin) Addr() net.Addr { return &net.TCPAddr{} }

func (w *twin) Close() error {
	w.end.Do(func() { close(w.ended) })
	return nil
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve runs an agent on a listener, or on the twin's own.
func serve(t *testing.T, on func(ssh.Signer) net.Listener) *twin {
	t.Helper()
	w := &twin{t: t, host: newSigner(t), mine: newSigner(t), conns: make(chan net.Conn), ended: make(chan struct{})}
	var l net.Listener = w
	if on != nil {
		l = on(w.host)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	served := make(chan error, 1)
	go func() {
		served <- agent.Serve(ctx, l, agent.Config{
			Settings: agent.Settings{
				Version: 1, AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(w.mine.PublicKey()))},
				Owner: owner, Expires: time.Now().Add(time.Hour).Unix(), App: agent.App{Dir: t.TempDir()},
			},
			HostKey: w.host, Version: "v1",
			Environ: []string{"PATH=/usr/bin:/bin", "HOME=/nowhere", "PS1=$ ", "SHELL=/bin/sh"},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return w
}

// connect is a client's connection. The one that is returned with it is the
// network's.
func (w *twin) connect(name string) (*session.Client, net.Conn) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // net.Pipe has no buffer, which SSH needs
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.conns <- caller{far, name}
	key := w.mine
	if name != owner {
		key = newSigner(w.t)
	}
	return w.handshake(near, key), near
}

func (w *twin) handshake(conn net.Conn, key ssh.Signer) *session.Client {
	w.t.Helper()
	c, err := session.New(w.t.Context(), conn, session.Config{Signer: key, HostKey: w.host.PublicKey()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// person sits at a terminal of 60 by 12 with a session in it.
type person struct {
	t       *testing.T
	typing  *io.PipeWriter
	control *session.Control
	ended   chan error
	output  *tty.Output

	mu      sync.Mutex
	display *screen.Screen
	heard   []string // events
	changed chan struct{}
}

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.display.Write(b)
	p.wake()
	return n, err
}

func (p *person) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *person) hear(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, event)
	p.wake()
}

func sit(t *testing.T, c *session.Client, cmd session.Command) *person {
	t.Helper()
	keys, typing := io.Pipe()
	p := &person{
		t: t, typing: typing, control: new(session.Control), ended: make(chan error, 1),
		display: screen.New(60, 12), changed: make(chan struct{}),
	}
	// The terminal answers what programs ask it.
	p.display.Reply(func(answer []byte) {
		go func() {
			_, _ = typing.Write(answer)
			_, _ = typing.Write(nil) // returns when somebody reads again, who has dealt with the answer
			p.hear("answered")
		}()
	})
	size := tty.Size{Cols: 60, Rows: 12}
	p.output = tty.NewOutput(p, tty.OutputOptions{Size: size, Locate: true})
	cmd.Terminal = &session.Terminal{Term: "xterm-256color", Size: size}
	cmd.Stdin = tty.NewEscapeReader(p.output.Keyboard(keys), tty.EscapeOptions{
		Char: '~', Detach: func() { go func() { _ = p.control.Detach(t.Context()) }() },
	})
	cmd.Stdout, cmd.Control = p.output, p.control
	cmd.Started = func(uint32) { p.hear("started") }
	cmd.Notice = p.hear
	go func() {
		p.ended <- c.Run(t.Context(), cmd)
		_ = keys.Close()
	}()
	return p
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.typing, keys); err != nil {
		p.t.Fatal(err)
	}
}

// text is the screen in plain characters and colours, line by line.
func (p *person) text() string {
	var lines []string
	for y := range 12 {
		lines = append(lines, strings.TrimRight(string(p.display.Line(y)), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func (p *person) await(what string, ok func() bool) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		done, changed, text, heard := ok(), p.changed, p.text(), p.heard
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit:
			p.t.Fatalf("%s never came; heard %q, and the screen is\n%s", what, heard, text)
		}
	}
}

func (p *person) sees(text string) {
	p.t.Helper()
	p.await(text, func() bool { return strings.Contains(p.text(), text) })
}

// shows waits until the screen is in a state.
func (p *person) shows(state string) {
	p.t.Helper()
	p.await("the screen", func() bool { return string(p.display.Redraw(screen.RedrawOptions{})) == state })
}

func (p *person) hears(event string) {
	p.t.Helper()
	p.await(event, func() bool { return slices.Contains(p.heard, event) })
}

// state is all there is to a screen.
func (p *person) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.display.Redraw(screen.RedrawOptions{}))
}

func (p *person) detached(reason string) *session.DetachedError {
	p.t.Helper()
	var d *session.DetachedError
	if err := <-p.ended; !errors.As(err, &d) || !strings.Contains(d.Reason, reason) || reason == "" && d.Reason != "" {
		p.t.Fatalf("the session ended with %v, not as detached: %q", err, reason)
	}
	return d
}

// lockedBuffer is output that can be waited for.
type lockedBuffer struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *lockedBuffer) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(patience)
	for {
		b.mu.Lock()
		found := strings.Contains(b.text.String(), want)
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%q never came", want)
		}
	}
}
