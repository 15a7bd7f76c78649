package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// A memRuntime runs programs that talk over net.Pipe, which testing/synctest can see through; the sockets
// of runtime.InProcess it cannot.
type memRuntime struct {
	programs map[string]runtime.Program
	listen   error // of every sandbox's Listen

	mu      sync.Mutex
	open    map[string]*memSandbox
	made    int
	started []runtime.Container
	cpus    []float64 // the limits that processes got, in order
}

func newMemRuntime(programs map[string]runtime.Program) *memRuntime {
	return &memRuntime{programs: programs, open: map[string]*memSandbox{}}
}

func (r *memRuntime) Name() string               { return "memory" }
func (r *memRuntime) Reap(context.Context) error { return nil }
func (r *memRuntime) Close() error               { return nil }

func (r *memRuntime) Sandbox(_ context.Context, s runtime.SandboxSpec) (runtime.Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sb := &memSandbox{runtime: r, spec: s, listeners: map[int]*memListener{}}
	r.open[s.ID] = sb
	r.made++
	return sb, nil
}

// counts are the sandboxes that there are and that there ever were.
func (r *memRuntime) counts() (open, made int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open), r.made
}

// limits are the CPUs that processes were given after their start.
func (r *memRuntime) limits() []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.cpus)
}

// container is the n-th container that was started.
func (r *memRuntime) container(n int) runtime.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started[n]
}

type memSandbox struct {
	runtime *memRuntime
	spec    runtime.SandboxSpec

	mu        sync.Mutex
	listeners map[int]*memListener
	procs     []*memProc
}

func (s *memSandbox) Start(_ context.Context, c runtime.Container) (runtime.Process, error) {
	s.runtime.mu.Lock()
	s.runtime.started = append(s.runtime.started, c)
	program := s.runtime.programs[c.Args[0]]
	s.runtime.mu.Unlock()
	if program == nil {
		return nil, &runtime.StartError{Container: c.Name, Err: fmt.Errorf("exec %q: file does not exist", c.Args[0])}
	}
	p := &memProc{runtime: s.runtime, signals: make(chan syscall.Signal, 4), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.kill = cancel
	s.mu.Lock()
	s.procs = append(s.procs, p)
	s.mu.Unlock()
	go func() {
		defer cancel()
		err := program(ctx, runtime.Proc{
			Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User, Stdout: c.Stdout, Stderr: c.Stderr, Signals: p.signals,
			Listen: func(_ context.Context, address string) (net.Listener, error) { return s.bind(p, address) },
		})
		p.end(err, ctx.Err() != nil)
	}()
	return p, nil
}

func (s *memSandbox) bind(p *memProc, address string) (net.Listener, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	l := &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[port] = l
	if p != nil {
		p.listener = l
	}
	return l, nil
}

func (s *memSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	s.mu.Lock()
	l := s.listeners[port]
	s.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	here, there := net.Pipe()
	select {
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	case l.conns <- there:
		l.keep(there)
		return here, nil
	}
}

func (s *memSandbox) Listen(_ context.Context, address string) (net.Listener, error) {
	if s.runtime.listen != nil {
		return nil, s.runtime.listen
	}
	return s.bind(nil, address)
}

func (s *memSandbox) Close(context.Context) error {
	s.mu.Lock()
	procs := s.procs
	s.mu.Unlock()
	for _, p := range procs {
		p.kill()
		<-p.done
	}
	s.runtime.mu.Lock()
	defer s.runtime.mu.Unlock()
	delete(s.runtime.open, s.spec.ID)
	return nil
}

// A memExit ends a program with an Exit of its choice.
type memExit struct{ runtime.Exit }

func (memExit) Error() string { return "exit" }

type memProc struct {
	runtime  *memRuntime
	signals  chan syscall.Signal
	done     chan struct{}
	kill     context.CancelFunc
	exit     runtime.Exit
	listener *memListener
}

func (p *memProc) Done() <-chan struct{} { return p.done }
func (p *memProc) Exit() runtime.Exit    { return p.exit }

func (p *memProc) Signal(_ context.Context, sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		p.kill()
		return nil
	}
	p.signals <- sig
	return nil
}

func (p *memProc) end(err error, killed bool) {
	if p.listener != nil {
		p.listener.kill()
	}
	var exit memExit
	switch {
	case errors.As(err, &exit):
		p.exit = exit.Exit
	case killed:
		p.exit = runtime.Exit{Code: 137, Signal: "SIGKILL"}
	case err != nil:
		p.exit = runtime.Exit{Code: 1}
	}
	close(p.done)
}

type memListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	open []net.Conn
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) keep(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c)
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// kill is what the end of a process does to its sockets.
func (l *memListener) kill() {
	_ = l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		_ = c.Close()
	}
}

func (l *memListener) Addr() net.Addr { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "memory" }
func (memAddr) String() string  { return "memory" }

func (p *memProc) LimitCPU(cpus float64) error {
	p.runtime.mu.Lock()
	defer p.runtime.mu.Unlock()
	p.runtime.cpus = append(p.runtime.cpus, cpus)
	return nil
}
