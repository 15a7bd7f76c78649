package serving

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// open sends a request through an HTTP server, over net.Pipe, and returns where its answer arrives.
func (f *fixture) open(request string) *bufio.Reader {
	f.t.Helper()
	l := &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: f.fleet.Handler(f.rev.Key())}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	here, there := net.Pipe()
	l.conns <- there
	f.t.Cleanup(func() {
		_ = here.Close()
		_ = s.Close()
		<-served
	})
	if _, err := io.WriteString(here, request); err != nil {
		f.t.Fatal(err)
	}
	return bufio.NewReader(here)
}

// memory is a program that keeps something in memory: it counts the requests for /count. At /stream it sends a
// line at once and then nothing until the client has gone.
func memory(ctx context.Context, p runtime.Proc) error {
	var n atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, n.Add(1)) })
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return web(mux, nil)(ctx, p)
}

func TestStreamHoldsTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, memory, template(func(t *runpb.RevisionTemplate) { t.Timeout = durationpb.New(time.Hour) }))
		f.deploy()
		f.wantAnswer(f.get("/count"), 200, "1")
		begun := time.Now()
		answer := f.open("GET /stream HTTP/1.1\r\nHost: hello\r\n\r\n")
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(res.Body)
		if line, err := body.ReadString('\n'); err != nil || line != "begun\n" || time.Since(begun) != 0 {
			t.Fatalf("the first line is %q, %v, after %s", line, err, time.Since(begun))
		}
		pass(59 * time.Minute) // much longer than an instance without requests would stay
		f.wantAnswer(f.get("/count"), 200, "2")
		if _, err := body.ReadByte(); err == nil || err == io.EOF {
			t.Errorf("at the timeout the stream ends with %v, as if it were complete", err)
		}
		if d := time.Since(begun); d != time.Hour {
			t.Errorf("the stream was cut after %s", d)
		}
		f.wantLog("maximum request timeout")
		pass(14 * time.Minute)
		f.wantAnswer(f.get("/count"), 200, "3")
		pass(16 * time.Minute)
		f.wantInstances(0)
		f.wantAnswer(f.get("/count"), 200, "1") // another instance, which knows nothing
	})
}

// A container that says goodbye at SIGTERM is heard to the end, for ten seconds.
func TestLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := func(ctx context.Context, p runtime.Proc) error {
			stopping := make(chan struct{})
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				<-stopping
				pass(9 * time.Second)
				_, _ = conn.Write(bytes.Repeat([]byte("bye"), 100_000))
			})
			exit, signals := make(chan error), p.Signals
			p.Signals = nil
			go func() {
				<-signals
				close(stopping)
				pass(9500 * time.Millisecond)
				exit <- nil
			}()
			return web(h, exit)(ctx, p)
		}
		f := newFixture(t, app)
		f.deploy()
		_, r := f.dialUpgrade()
		begun := time.Now()
		removed := make(chan error, 1)
		go func() { removed <- f.fleet.Remove(t.Context(), f.rev.Key()) }()
		words, err := io.ReadAll(r)
		if len(words) != 300_000 {
			t.Errorf("heard %d bytes, %v", len(words), err)
		}
		if err := <-removed; err != nil || time.Since(begun) > 10*time.Second {
			t.Errorf("removed after %s, %v", time.Since(begun), err)
		}
	})
}

// A request's body reaches the container as it comes.
func TestBodyStreams(t *testing.T) {
	seen := make(chan string, 2)
	_, s := served(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			seen <- lines.Text()
		}
	}))
	body, feed := io.Pipe()
	done := make(chan int, 1)
	go func() {
		res, _ := do(t, s, http.MethodPost, "/", body, nil)
		done <- res.StatusCode
	}()
	for _, line := range []string{"one", "two"} {
		if _, err := io.WriteString(feed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != line { // before the next is sent
			t.Errorf("seen %q", got)
		}
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != http.StatusOK {
		t.Errorf("status %d", code)
	}
}

// Hundreds of small requests beside one that stays open, as a client makes them whose proxy knows no WebSockets.
func TestManyRequestsBesideAStream(t *testing.T) {
	var bytesIn atomic.Int64
	f, s := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, r.Body)
			bytesIn.Add(n)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), func(f *fixture) { f.rev.MaxInstances = 1 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	const requests, size = 400, 20_000
	for n := range requests {
		body := io.Reader(strings.NewReader(strings.Repeat("x", size)))
		if n%2 == 0 {
			body = io.MultiReader(body) // of unknown length
		}
		if res, _ := do(t, s, http.MethodPost, "/"+strconv.Itoa(n), body, nil); res.StatusCode != http.StatusNoContent {
			t.Fatalf("request %d: %s", n, res.Status)
		}
	}
	if got := bytesIn.Load(); got != requests*size {
		t.Errorf("%d bytes arrived", got)
	}
	f.wantInstances(1)
}
