package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
)

// inProcess runs Go functions as containers.
type inProcess struct {
	programs map[string]Program

	mu        sync.Mutex
	closed    bool
	sandboxes map[string]*inProcessSandbox
}

func newInProcess(o Options) *inProcess {
	return &inProcess{programs: maps.Clone(o.Programs), sandboxes: map[string]*inProcessSandbox{}}
}

func (r *inProcess) Name() string { return InProcess }

func (r *inProcess) Sandbox(_ context.Context, s SandboxSpec) (Sandbox, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("making sandbox %s: %w", s.ID, ErrClosed)
	}
	if r.sandboxes[s.ID] != nil {
		return nil, fmt.Errorf("making sandbox %s: %w", s.ID, fs.ErrExist)
	}
	sb := &inProcessSandbox{runtime: r, id: s.ID, hosts: maps.Clone(s.Hosts), running: map[string]*inProcessProc{}}
	r.sandboxes[s.ID] = sb
	return sb, nil
}

// Reap has nothing to do: nothing of a process survives it.
func (r *inProcess) Reap(context.Context) error { return nil }

func (r *inProcess) Close() error {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Values(r.sandboxes))
	r.mu.Unlock()
	var errs []error
	for _, sb := range open {
		errs = append(errs, sb.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// inProcessSandbox is a port space and the programs that run in it.
type inProcessSandbox struct {
	runtime *inProcess
	id      string
	hosts   map[string]string
	ports   portSpace

	mu      sync.Mutex
	closed  bool
	running map[string]*inProcessProc
}

func (s *inProcessSandbox) Start(ctx context.Context, c Container) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, &StartError{c.Name, err}
	}
	program := s.runtime.programs[c.Args[0]]
	if program == nil {
		return nil, &StartError{c.Name, fmt.Errorf("exec %q: %w", c.Args[0], fs.ErrNotExist)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("starting container %s: %w", c.Name, ErrClosed)
	}
	if s.running[c.Name] != nil {
		return nil, &StartError{c.Name, fs.ErrExist}
	}
	p := newInProcessProc(s, c)
	s.running[c.Name] = p
	go p.run(program, c)
	return p, nil
}

func (s *inProcessSandbox) exited(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, name)
}

func (s *inProcessSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	return s.ports.dial(ctx, fmt.Sprintf("127.0.0.1:%d", port))
}

func (s *inProcessSandbox) Listen(ctx context.Context, address string) (net.Listener, error) {
	return s.ports.listen(ctx, address)
}

func (s *inProcessSandbox) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	running := slices.Collect(maps.Values(s.running))
	s.mu.Unlock()
	for _, p := range running {
		p.kill()
	}
	err := s.ports.close()
	for _, p := range running {
		select {
		case <-p.done:
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("closing sandbox %s: container %s does not end: %w", s.id, p.name, ctx.Err()))
		}
	}
	s.runtime.mu.Lock()
	defer s.runtime.mu.Unlock()
	if s.runtime.sandboxes[s.id] == s {
		delete(s.runtime.sandboxes, s.id)
	}
	return err
}

// inProcessProc is a program that runs.
type inProcessProc struct {
	sandbox *inProcessSandbox
	name    string
	sockets socketSet
	signals chan syscall.Signal
	ctx     context.Context //nolint:containedctx // the life of the process, which no call has
	kill    context.CancelFunc
	done    chan struct{}
	exit    Exit // valid after done
}

func newInProcessProc(s *inProcessSandbox, c Container) *inProcessProc {
	p := &inProcessProc{
		sandbox: s,
		name:    c.Name,
		signals: make(chan syscall.Signal, 16),
		done:    make(chan struct{}),
	}
	p.ctx, p.kill = context.WithCancel(context.Background())
	return p
}

func (p *inProcessProc) Done() <-chan struct{} { return p.done }

func (p *inProcessProc) Exit() Exit { return p.exit }

func (p *inProcessProc) Signal(_ context.Context, sig syscall.Signal) error {
	if sig == sigkill {
		p.kill()
		return nil
	}
	select {
	case p.signals <- sig:
	default: // like a pending signal that is sent again
	}
	return nil
}

// run runs the program and does what a kernel does at the end of a process: no output
// comes after it and no socket of its stays open.
func (p *inProcessProc) run(program Program, c Container) {
	// A killed process loses its sockets at once, not when the program has noticed.
	stop := context.AfterFunc(p.ctx, func() { p.sockets.close() })
	stdout, stderr := newGate(c.Stdout), newGate(c.Stderr)
	err := call(program, p.ctx, Proc{
		Args:    slices.Clone(c.Args),
		Env:     slices.Clone(c.Env),
		Dir:     orDefault(c.Dir, "/"),
		User:    c.User,
		Stdout:  stdout,
		Stderr:  stderr,
		Signals: p.signals,
		Listen:  p.listen,
		Dial:    p.dial,
	})
	p.exit = programExit(err, stderr)
	if p.ctx.Err() != nil {
		p.exit = killedBy(sigkill)
	}
	stdout.shut()
	stderr.shut()
	stop()
	p.kill()
	p.sockets.close()
	p.sandbox.exited(p.name)
	close(p.done)
}

func (p *inProcessProc) listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := p.sandbox.ports.listen(ctx, address)
	if err != nil {
		return nil, err
	}
	return p.sockets.listener(l)
}

func (p *inProcessProc) dial(ctx context.Context, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && p.sandbox.hosts[host] != "" {
		address = net.JoinHostPort(p.sandbox.hosts[host], port)
	}
	c, err := p.sandbox.ports.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return p.sockets.conn(c)
}

// A panicError is a program that panicked.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.value, e.stack) }

// ExitCode is the status with which the Go runtime ends a process that panics.
func (e *panicError) ExitCode() int { return 2 }

// call keeps a panic of one container from taking the emulator and the other containers with it.
func call(program Program, ctx context.Context, p Proc) (err error) { //nolint:revive // the program comes first
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return program(ctx, p)
}

func programExit(err error, stderr io.Writer) Exit {
	var coder interface{ ExitCode() int }
	switch {
	case err == nil:
		return Exit{}
	case errors.As(err, &coder):
		var p *panicError
		if errors.As(err, &p) {
			_, _ = fmt.Fprintln(stderr, err)
		}
		return Exit{Code: coder.ExitCode()}
	}
	return Exit{Code: 1}
}

// A gate serialises writes and swallows those that come after the end.
type gate struct {
	mu sync.Mutex
	w  io.Writer
}

func newGate(w io.Writer) *gate {
	if w == nil {
		w = io.Discard
	}
	return &gate{w: w}
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil {
		return 0, fs.ErrClosed
	}
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = nil
}
