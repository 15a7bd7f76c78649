package serving

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// overSockets makes a fixture use the runtime whose containers have real sockets.
func overSockets(program runtime.Program) func(*fixture) {
	return func(f *fixture) {
		r, err := runtime.New(f.t.Context(), runtime.Options{
			Kind: runtime.InProcess, Programs: map[string]runtime.Program{"app": program},
		})
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() {
			if err := r.Close(); err != nil {
				f.t.Error(err)
			}
		})
		f.options.Runtime = r
	}
}

// served deploys a revision of the handler and serves it on a socket.
func served(t *testing.T, h http.Handler, change ...func(*fixture)) (*fixture, *httptest.Server) {
	t.Helper()
	f := newFixture(t, nil, append([]func(*fixture){overSockets(web(h, nil))}, change...)...)
	f.deploy()
	s := httptest.NewServer(f.fleet.Handler(f.rev.Key()))
	t.Cleanup(s.Close)
	return f, s
}

func do(t *testing.T, s *httptest.Server, method, path string, body io.Reader, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestRequestHeaders(t *testing.T) {
	_, s := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "mine")
		_ = json.NewEncoder(w).Encode(map[string]any{"h": r.Header, "host": r.Host, "uri": r.RequestURI})
	}))
	res, body := do(t, s, http.MethodGet, "/a%2Fb?x=1;y&z", nil, http.Header{
		"X-Forwarded-For": {"203.0.113.9"},
		"Traceparent":     {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	})
	var got struct {
		H         http.Header
		Host, URI string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.URI != "/a%2Fb?x=1;y&z" || got.Host != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("the container sees %s%s", got.Host, got.URI)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For":       `203\.0\.113\.9,127\.0\.0\.1`,
		"X-Forwarded-Proto":     "https",
		"Forwarded":             `for="127\.0\.0\.1";proto=https`,
		"Traceparent":           "00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01",
		"X-Cloud-Trace-Context": "0af7651916cd43dd8448eb211c80319c/[0-9]+;o=1",
	} {
		if !regexp.MustCompile("^" + want + "$").MatchString(got.H.Get(name)) {
			t.Errorf("%s is %q, want %s", name, got.H.Get(name), want)
		}
	}
	if got := res.Header.Get("Server"); got != "Google Frontend" {
		t.Errorf("Server is %q", got)
	}
}

func TestTraceIsMade(t *testing.T) {
	for _, h := range []http.Header{{}, {"Traceparent": {"00-xyz-1-01"}}, {"X-Cloud-Trace-Context": {"short/1;o=1"}}} {
		trace(h)
		parent, google := h.Get("Traceparent"), h.Get("X-Cloud-Trace-Context")
		if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`).MatchString(parent) {
			t.Errorf("traceparent %q", parent)
		}
		if len(parent) < 35 || !strings.HasPrefix(google, parent[3:35]+"/") {
			t.Errorf("trace %q beside %q", google, parent)
		}
	}
	h := http.Header{"X-Cloud-Trace-Context": {"0af7651916cd43dd8448eb211c80319c/1"}}
	trace(h)
	if !strings.HasPrefix(h.Get("Traceparent"), "00-0af7651916cd43dd8448eb211c80319c-") {
		t.Errorf("traceparent %q does not continue the client's trace", h.Get("Traceparent"))
	}
}

func TestStreamingAndTrailers(t *testing.T) {
	next := make(chan struct{})
	_, s := served(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		for n := range 3 {
			_, _ = fmt.Fprintf(w, "part %d\n", n)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
		w.Header().Set("Sum", "3")
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for n := range 3 {
		// Each part arrives before the container writes the next.
		if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("part %d\n", n) {
			t.Fatalf("part %q, %v", line, err)
		}
		next <- struct{}{}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if got := res.Trailer.Get("Sum"); got != "3" {
		t.Errorf("trailer %q", got)
	}
}

func TestUpgradeHalfClose(t *testing.T) {
	f := newFixture(t, nil, overSockets(web(http.HandlerFunc(upgrade), nil)))
	f.deploy()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, r := dialUpgrade(t, l, f.fleet.Handler(f.rev.Key()), func() (net.Conn, error) {
		return (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	})
	sent := make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestBodyLimits(t *testing.T) {
	f, s := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Header().Set("Content-Length", fmt.Sprint(maxBody+1))
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}))
	zeros := func(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }
	if res, body := do(t, s, http.MethodPost, "/", zeros(maxBody), nil); res.StatusCode != http.StatusOK || body != fmt.Sprint(maxBody) {
		t.Errorf("32 MiB: %d %q", res.StatusCode, body)
	}
	w := httptest.NewRecorder() // over a socket the answer may be lost to the client's writing on
	f.fleet.Handler(f.rev.Key()).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", zeros(maxBody+1)))
	f.wantAnswer(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	tooMuch := httptest.NewRequest(http.MethodPost, "/", nil)
	tooMuch.ContentLength = maxBody + 1
	w = httptest.NewRecorder()
	f.fleet.Handler(f.rev.Key()).ServeHTTP(w, tooMuch)
	f.wantAnswer(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	if res, body := do(t, s, http.MethodGet, "/large", nil, nil); res.StatusCode != http.StatusInternalServerError || body != "Response size was too large." {
		t.Errorf("large response: %d %q", res.StatusCode, body)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestH2C(t *testing.T) {
	program := func(ctx context.Context, p runtime.Proc) error {
		l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
		if err != nil {
			return err
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		}), Protocols: new(http.Protocols)}
		s.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = s.Serve(l) }()
		select {
		case <-p.Signals:
		case <-ctx.Done():
		}
		return s.Close()
	}
	f := newFixture(t, nil, overSockets(program), template(func(t *runpb.RevisionTemplate) {
		t.Containers[0].Ports = []*runpb.ContainerPort{{Name: "h2c", ContainerPort: 8080}}
	}))
	f.deploy()
	f.wantAnswer(f.get("/"), 200, "HTTP/2.0")
}

// patience is how long a probe over real sockets may take: on a busy machine a second is short.
const patience = 120

func TestHTTPStartupProbe(t *testing.T) {
	var asked int
	f, _ := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/ready" || r.Header.Get("X-Probe") != "yes" {
			w.WriteHeader(http.StatusNotFound)
		}
	}), template(func(t *runpb.RevisionTemplate) {
		t.Containers[0].StartupProbe = &runpb.Probe{TimeoutSeconds: patience, ProbeType: &runpb.Probe_HttpGet{HttpGet: &runpb.HTTPGetAction{
			Path: "/ready", HttpHeaders: []*runpb.HTTPHeader{{Name: "X-Probe", Value: "yes"}},
		}}}
	}))
	if asked != 1 {
		t.Errorf("the probe asked %d times, want once", asked)
	}
	f.wantLog(`STARTUP HTTP probe succeeded after 1 attempt for container "hello-1" on port 8080 path "/ready".`)
}

func TestGRPCStartupProbe(t *testing.T) {
	program := func(ctx context.Context, p runtime.Proc) error {
		l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
		if err != nil {
			return err
		}
		h := health.NewServer()
		h.SetServingStatus("app", grpc_health_v1.HealthCheckResponse_SERVING)
		s := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(s, h)
		go func() { _ = s.Serve(l) }()
		select {
		case <-p.Signals:
		case <-ctx.Done():
		}
		s.Stop()
		return nil
	}
	probe := func(service string) func(*fixture) {
		return template(func(t *runpb.RevisionTemplate) {
			t.Containers[0].StartupProbe = &runpb.Probe{
				FailureThreshold: 1, TimeoutSeconds: patience, ProbeType: &runpb.Probe_Grpc{Grpc: &runpb.GRPCAction{Service: service}},
			}
		})
	}
	f := newFixture(t, nil, overSockets(program), probe("app"))
	f.deploy()
	f.wantLog(`STARTUP GRPC probe succeeded after 1 attempt for container "hello-1" on port 8080.`)
	f = newFixture(t, nil, overSockets(program), probe("other"))
	if err := f.tryDeploy(); err == nil || !strings.Contains(err.Error(), "failed the configured startup probe checks") {
		t.Errorf("probing an unknown gRPC service: %v", err)
	}
}

func TestMetadataServer(t *testing.T) {
	var said bytes.Buffer
	program := func(ctx context.Context, p runtime.Proc) error {
		c := http.Client{Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return p.Dial(ctx, address) },
			DisableKeepAlives: true,
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://metadata.google.internal/computeMetadata/v1/instance/id", nil)
		if err != nil {
			return err
		}
		res, err := c.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(&said, res.Body); err != nil {
			return err
		}
		return web(text("ok"), nil)(ctx, p)
	}
	f := newFixture(t, nil, overSockets(program), func(f *fixture) {
		f.options.Metadata = func(rev Revision, instanceID string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.URL.Path+" "+rev.Name+" "+instanceID)
			})
		}
	})
	f.deploy()
	id := f.fleet.Instances(f.rev.Key())[0]
	if want := "/computeMetadata/v1/instance/id hello-00001-abc " + id; said.String() != want {
		t.Errorf("metadata %q, want %q", said.String(), want)
	}
	if !regexp.MustCompile(`^00[0-9a-f]{120}$`).MatchString(id) {
		t.Errorf("instance id %q", id)
	}
}
