package serving

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// upgrade is a handler that switches to a protocol which sends everything back.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, rw)
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// dialUpgrade makes an upgraded connection to the revision through an HTTP server.
func dialUpgrade(t *testing.T, l net.Listener, h http.Handler, dial func() (net.Conn, error)) (net.Conn, *bufio.Reader) {
	t.Helper()
	s := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: hello\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", res.Status)
	}
	return conn, r
}

// dialUpgrade makes one to the revision over net.Pipe.
func (f *fixture) dialUpgrade() (net.Conn, *bufio.Reader) {
	l := &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	return dialUpgrade(f.t, l, f.fleet.Handler(f.rev.Key()), func() (net.Conn, error) {
		here, there := net.Pipe()
		l.conns <- there
		return here, nil
	})
}

func wantEcho(t *testing.T, c net.Conn, r io.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != text {
		t.Fatalf("echo %q, %v; want %q", got, err, text)
	}
}

func TestWebSocketIsCutAtTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(http.HandlerFunc(upgrade), nil), template(func(t *runpb.RevisionTemplate) {
			t.Timeout = durationpb.New(time.Hour)
		}))
		f.deploy()
		begin := time.Now()
		c, r := f.dialUpgrade()
		for range 3 {
			wantEcho(t, c, r, "are you there?")
			pass(19 * time.Minute) // longer than an instance without requests would stay
		}
		f.wantInstances(1)
		if _, err := r.ReadByte(); err == nil {
			t.Error("something came from an idle connection")
		}
		if d := time.Since(begin); d != time.Hour {
			t.Errorf("the connection was cut after %s, want 1h", d)
		}
		pass(16 * time.Minute)
		f.wantInstances(0)
	})
}

func TestRequestTimeoutCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(http.HandlerFunc(upgrade), nil), func(f *fixture) { f.options.RequestTimeoutCap = 5 * time.Second })
		f.deploy()
		begin := time.Now()
		// A client that does not read: what it is sent stays in the pipe.
		c, _ := f.dialUpgrade()
		if _, err := io.WriteString(c, "never read"); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				break
			}
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("the connection was cut after %s, want 5s", d)
		}
	})
}

func TestRemoveCutsAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stubborn := func(ctx context.Context, p runtime.Proc) error {
			p.Signals = nil // deaf to SIGTERM
			return web(http.HandlerFunc(upgrade), nil)(ctx, p)
		}
		f := newFixture(t, stubborn)
		f.deploy()
		c, r := f.dialUpgrade()
		wantEcho(t, c, r, "hello")
		begin := time.Now()
		removed := make(chan error, 1)
		go func() { removed <- f.fleet.Remove(t.Context(), f.rev.Key()) }()
		pass(9 * time.Second)
		wantEcho(t, c, r, "still here")
		if _, err := r.ReadByte(); err == nil {
			t.Error("something came from an idle connection")
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("the connection was cut after %s, want 10s", d)
		}
		_ = c.Close()
		if err := <-removed; err != nil {
			t.Error(err)
		}
		f.wantAnswer(f.get("/"), 404, "Page not found")
	})
}

func TestRemoveInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, p runtime.Proc) error {
			p.Signals = nil
			return web(text("ok"), nil)(ctx, p)
		})
		f.deploy()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := f.fleet.Remove(ctx, f.rev.Key()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("removing took %s, want 1s", d)
		}
		if open, _ := f.runtime.counts(); open != 0 {
			t.Errorf("%d sandboxes are left", open)
		}
	})
}
