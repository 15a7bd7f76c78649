package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
)

type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }
func (e exitStatus) ExitCode() int { return int(e) }

// echo listens on $PORT and sends back what it gets, EOF included, until SIGTERM.
func echo(ctx context.Context, p Proc) error {
	l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(p.Stdout, "listening on", l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.(interface{ CloseWrite() error }).CloseWrite()
			}()
		}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case sig := <-p.Signals:
		return exitStatus(100 + int(sig))
	}
}

func inProcessSandboxOf(t *testing.T, programs map[string]Program) Sandbox {
	t.Helper()
	r, err := New(t.Context(), Options{Kind: InProcess, Programs: programs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := r.Sandbox(t.Context(), SandboxSpec{ID: "one", Hosts: map[string]string{"metadata": "169.254.169.254"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, s Sandbox, c Container) Process {
	t.Helper()
	p, err := s.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestInProcessExit(t *testing.T) {
	s := inProcessSandboxOf(t, map[string]Program{
		"ok":     func(context.Context, Proc) error { return nil },
		"fails":  func(context.Context, Proc) error { return errors.New("no") },
		"seven":  func(context.Context, Proc) error { return fmt.Errorf("wrapped: %w", exitStatus(7)) },
		"panics": func(context.Context, Proc) error { panic("oh") },
	})
	for name, want := range map[string]Exit{"ok": {}, "fails": {Code: 1}, "seven": {Code: 7}, "panics": {Code: 2}} {
		var stderr bytes.Buffer
		p := start(t, s, Container{Name: name, Args: []string{name}, Stderr: &stderr})
		<-p.Done()
		if got := p.Exit(); got != want {
			t.Errorf("%s: exit %+v, want %+v", name, got, want)
		}
		if name == "panics" && !strings.HasPrefix(stderr.String(), "panic: oh\n") {
			t.Errorf("stderr of a panic is %q", stderr.String())
		}
	}
}

func TestInProcessUnknownProgram(t *testing.T) {
	s := inProcessSandboxOf(t, nil)
	_, err := s.Start(t.Context(), Container{Name: "app", Args: []string{"/nope"}})
	var startErr *StartError
	if !errors.As(err, &startErr) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v, want a StartError that is fs.ErrNotExist", err)
	}
	if want := `starting container app: exec "/nope": file does not exist`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestInProcessEcho(t *testing.T) {
	s := inProcessSandboxOf(t, map[string]Program{"echo": echo})
	ready := newLineWaiter()
	p := start(t, s, Container{Name: "app", Args: []string{"echo"}, Env: []string{"PORT=1", "PORT=8080"}, Stdout: ready})
	ready.wait(t, "listening on 0.0.0.0:8080")

	c, err := s.Dial(t.Context(), 8080)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Fatalf("echo %q, %v", got, err)
	}
	if _, err := s.Dial(t.Context(), 8081); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a free port: %v, want ECONNREFUSED", err)
	}
	if err := p.Signal(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Exit(); got != (Exit{Code: 115}) {
		t.Errorf("exit %+v, want code 115", got)
	}
}

func TestInProcessKillClosesSockets(t *testing.T) {
	s := inProcessSandboxOf(t, map[string]Program{"echo": echo})
	ready := newLineWaiter()
	p := start(t, s, Container{Name: "app", Args: []string{"echo"}, Env: []string{"PORT=8080"}, Stdout: ready})
	ready.wait(t, "listening on 0.0.0.0:8080")
	c, err := s.Dial(t.Context(), 8080)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	if err := p.Signal(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.Exit(); got != (Exit{Code: 137, Signal: "SIGKILL"}) {
		t.Errorf("exit %+v", got)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of a killed program is still open")
	}
	if _, err := s.Dial(t.Context(), 8080); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a dead program: %v, want ECONNREFUSED", err)
	}
}

func TestInProcessListenInside(t *testing.T) {
	s := inProcessSandboxOf(t, map[string]Program{
		"ask": func(ctx context.Context, p Proc) error {
			c, err := p.Dial(ctx, "metadata:80")
			if err != nil {
				return err
			}
			_, err = io.Copy(p.Stdout, c)
			return err
		},
	})
	l, err := s.Listen(t.Context(), "169.254.169.254:80")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Addr().String(); got != "169.254.169.254:80" {
		t.Errorf("address %s", got)
	}
	go serveOnce(l, "the token")
	var out bytes.Buffer
	p := start(t, s, Container{Name: "app", Args: []string{"ask"}, Stdout: &out})
	<-p.Done()
	if p.Exit() != (Exit{}) || out.String() != "the token" {
		t.Errorf("exit %+v, output %q", p.Exit(), out.String())
	}
}

func TestInProcessAddressInUse(t *testing.T) {
	s := inProcessSandboxOf(t, nil)
	l, err := s.Listen(t.Context(), ":80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(t.Context(), "127.0.0.1:80"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second listener: %v, want EADDRINUSE", err)
	}
	if _, err := s.Listen(t.Context(), "169.254.169.254:80"); err != nil {
		t.Errorf("the metadata server beside an app on port 80: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(t.Context(), "127.0.0.1:80"); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
}

func TestInProcessClose(t *testing.T) {
	s := inProcessSandboxOf(t, map[string]Program{"echo": echo})
	p := start(t, s, Container{Name: "app", Args: []string{"echo"}, Env: []string{"PORT=8080"}})
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	<-p.Done()
	if _, err := s.Start(t.Context(), Container{Name: "b", Args: []string{"echo"}}); !errors.Is(err, ErrClosed) {
		t.Errorf("start in a closed sandbox: %v, want ErrClosed", err)
	}
}

func TestInProcessStuckProgramIsNamed(t *testing.T) {
	release := make(chan struct{})
	s := inProcessSandboxOf(t, map[string]Program{
		"stuck": func(context.Context, Proc) error { <-release; return nil },
	})
	start(t, s, Container{Name: "app", Args: []string{"stuck"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), "container app does not end") {
		t.Errorf("closing: %v", err)
	}
	close(release)
}

func TestValidation(t *testing.T) {
	ok := Container{Name: "app", Args: []string{"a"}}
	for name, change := range map[string]func(*Container){
		"no command":     func(c *Container) { c.Args = nil },
		"container name": func(c *Container) { c.Name = "../x" },
		"not an absolute path below": func(c *Container) {
			c.Mounts = []Mount{{Kind: Tmpfs, Destination: "/a/.."}}
		},
		"unknown kind": func(c *Container) { c.Mounts = []Mount{{Kind: "nfs", Destination: "/a"}} },
		"source":       func(c *Container) { c.Mounts = []Mount{{Kind: Bind, Destination: "/a", Source: "b"}} },
		"volume name":  func(c *Container) { c.Mounts = []Mount{{Kind: Tmpfs, Destination: "/a", Shared: "../b"}} },
	} {
		c := ok
		change(&c)
		if err := c.validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := ok.validate(); err != nil {
		t.Error(err)
	}
	if err := (SandboxSpec{ID: "a/b"}).validate(); err == nil {
		t.Error("a sandbox ID with a slash is accepted")
	}
}

func TestSignalName(t *testing.T) {
	for sig, want := range map[syscall.Signal]string{1: "SIGHUP", 9: "SIGKILL", 15: "SIGTERM", 31: "SIGSYS", 34: "SIG34"} {
		if got := signalName(sig); got != want {
			t.Errorf("signal %d is %s, want %s", int(sig), got, want)
		}
	}
}

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func serveOnce(l net.Listener, text string) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, text)
	_ = c.Close()
}
