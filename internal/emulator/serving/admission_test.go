package serving

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// gate is a handler that answers when it is let.
func gate(entered chan<- string, leave <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- r.URL.Path
		select {
		case <-leave:
			_, _ = io.WriteString(w, "ok")
		case <-r.Context().Done():
		}
	})
}

func concurrency(n, most int32) func(*fixture) {
	return template(func(t *runpb.RevisionTemplate) {
		t.MaxInstanceRequestConcurrency = n
		t.Scaling = &runpb.RevisionScaling{MaxInstanceCount: most}
	})
}

func TestSecondRequestQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		second := f.start("/2")
		synctest.Wait()
		if len(entered) != 1 {
			t.Fatalf("%d requests are in the container, want 1", len(entered))
		}
		leave <- struct{}{}
		f.wantAnswer(<-first, 200, "ok")
		synctest.Wait()
		if len(entered) != 2 {
			t.Fatalf("%d requests were in the container, want 2", len(entered))
		}
		leave <- struct{}{}
		f.wantAnswer(<-second, 200, "ok")
		if _, made := f.runtime.counts(); made != 1 {
			t.Errorf("%d instances were made, want 1", made)
		}
	})
}

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		begin := time.Now()
		f.wantAnswer(f.get("/2"), 429, "Rate exceeded.")
		if d := time.Since(begin); d != 30*time.Second {
			t.Errorf("the request waited %s, want 30s", d)
		}
		f.wantLog("The request was aborted because there was no available instance.")
		close(leave)
		f.wantAnswer(<-first, 200, "ok")
	})
}

func TestQueueLeavesWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 3), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 1))
		f.deploy()
		first := f.start("/1")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/2", nil)
			f.fleet.Handler(f.rev.Key()).ServeHTTP(httptest.NewRecorder(), r)
		}()
		synctest.Wait()
		cancel()
		<-gone
		close(leave)
		f.wantAnswer(<-first, 200, "ok")
		f.wantAnswer(f.get("/3"), 200, "ok")
		if <-entered != "/1" || <-entered != "/3" {
			t.Error("a request whose client had left reached the container")
		}
	})
}

func TestParallelRequestsStartOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 20), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), template(func(t *runpb.RevisionTemplate) {
			t.HealthCheckDisabled = true
		}))
		f.deploy()
		f.wantInstances(0)
		var answers []<-chan *httptest.ResponseRecorder
		for range 20 {
			answers = append(answers, f.start("/"))
		}
		synctest.Wait()
		pass(time.Second)
		synctest.Wait()
		if len(entered) != 20 {
			t.Errorf("%d requests are in containers, want 20", len(entered))
		}
		f.wantInstances(1)
		close(leave)
		for _, a := range answers {
			f.wantAnswer(<-a, 200, "ok")
		}
		if _, made := f.runtime.counts(); made != 1 {
			t.Errorf("%d instances were made, want 1", made)
		}
	})
}

func TestScaleOutToMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 10), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(2, 3))
		f.deploy()
		var answers []<-chan *httptest.ResponseRecorder
		for range 10 {
			answers = append(answers, f.start("/"))
		}
		pass(time.Second)
		if len(entered) != 6 {
			t.Errorf("%d requests are in containers, want 2 in each of 3", len(entered))
		}
		f.wantInstances(3)
		close(leave)
		for _, a := range answers {
			f.wantAnswer(<-a, 200, "ok")
		}
	})
}

func TestScaleToZeroAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(text("ok"), nil))
		f.deploy()
		pass(10 * time.Minute)
		f.wantAnswer(f.get("/"), 200, "ok")
		pass(14 * time.Minute)
		f.wantInstances(1)
		pass(2 * time.Minute)
		f.wantInstances(0)
		if open, _ := f.runtime.counts(); open != 0 {
			t.Errorf("%d sandboxes are left", open)
		}
		f.wantAnswer(f.get("/"), 200, "ok")
		f.wantInstances(1)
	})
}

func TestMinimumIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		f := newFixture(t, web(text("ok"), exit), func(f *fixture) { f.rev.MinInstances = 2 })
		f.deploy()
		pass(time.Hour)
		f.wantInstances(2)
		exit <- memExit{runtime.Exit{Code: 1}}
		synctest.Wait()
		f.wantInstances(1)
		pass(restartDelay + time.Second)
		f.wantInstances(2)
		f.fleet.Scale(f.rev.Key(), 0, 0)
		pass(16 * time.Minute)
		f.wantInstances(0)
	})
}

func TestScaleDownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan string, 10), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), nil), concurrency(1, 2))
		f.deploy()
		a, b := f.start("/a"), f.start("/b")
		pass(time.Second)
		f.wantInstances(2)
		f.fleet.Scale(f.rev.Key(), 0, 1)
		f.wantInstances(1)
		if open, _ := f.runtime.counts(); open != 2 {
			t.Errorf("%d sandboxes, want both until their requests are served", open)
		}
		close(leave)
		f.wantAnswer(<-a, 200, "ok")
		f.wantAnswer(<-b, 200, "ok")
		synctest.Wait()
		if open, _ := f.runtime.counts(); open != 1 {
			t.Errorf("%d sandboxes, want 1", open)
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(gate(make(chan string, 1), nil), nil), template(func(t *runpb.RevisionTemplate) {
			t.Timeout = durationpb.New(90 * time.Second)
		}))
		f.deploy()
		begin := time.Now()
		f.wantAnswer(f.get("/"), 504, "upstream request timeout")
		if d := time.Since(begin); d != 90*time.Second {
			t.Errorf("the request took %s, want 90s", d)
		}
		f.wantLog("it has reached the maximum request timeout")
		f.wantInstances(1)
	})
}

func TestCrashDuringRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan error)
		entered, leave := make(chan string, 2), make(chan struct{})
		f := newFixture(t, web(gate(entered, leave), exit))
		f.deploy()
		before := f.fleet.Instances(f.rev.Key())
		answer := f.start("/")
		<-entered
		exit <- memExit{runtime.Exit{Code: 3}}
		if w := <-answer; w.Code != 503 {
			t.Errorf("answer %d, want 503", w.Code)
		}
		f.wantInstances(0)
		f.wantLog("Container called exit(3).")
		close(leave)
		f.wantAnswer(f.get("/"), 200, "ok")
		if after := f.fleet.Instances(f.rev.Key()); len(after) != 1 || after[0] == before[0] {
			t.Errorf("instances %v, then %v: want a new one", before, after)
		}
	})
}

func TestNoStartOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := func(context.Context, runtime.Proc) error { return memExit{runtime.Exit{Code: 1}} }
		f := newFixture(t, crash, template(func(t *runpb.RevisionTemplate) { t.HealthCheckDisabled = true }))
		f.deploy()
		a, b := f.start("/a"), f.start("/b")
		f.wantAnswer(<-a, 503, "Service Unavailable")
		f.wantAnswer(<-b, 503, "Service Unavailable")
		f.wantLog("The request failed because the instance could not start successfully.")
		if _, made := f.runtime.counts(); made > 2 {
			t.Errorf("%d instances were made for 2 requests", made)
		}
	})
}

func TestLivenessProbeEndsInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := make(chan bool, 1)
		healthy <- true
		f := newFixture(t, web(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if ok := <-healthy; !ok {
				w.WriteHeader(http.StatusInternalServerError)
			}
			healthy <- false
		}), nil), template(func(t *runpb.RevisionTemplate) {
			t.Containers[0].LivenessProbe = &runpb.Probe{
				PeriodSeconds: 5, FailureThreshold: 2,
				ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{Path: "/live"}},
			}
		}))
		f.deploy()
		pass(9 * time.Second)
		f.wantInstances(1)
		pass(2 * time.Second)
		f.wantInstances(0)
		f.wantLog(`LIVENESS HTTP probe failed 2 times consecutively for container "hello-1" on port 8080 path "/live". The instance has been shut down.`)
	})
}

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

// dialUpgradeInMemory is dialUpgrade over net.Pipe.
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
