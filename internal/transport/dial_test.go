package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

func TestDialTellsWhoAnswered(t *testing.T) { synctest.Test(t, dialTellsWhoAnswered) }

func dialTellsWhoAnswered(t *testing.T) {
	t.Helper()
	_, l, e := network(t)
	headers := 0
	e.Header = func(context.Context) (http.Header, error) {
		headers++
		return http.Header{"X-Serverless-Authorization": {"Bearer fresh"}}, nil
	}
	for range 2 {
		client, server := pair(t, l, e)
		want := Peer{Version: testVersion, Instance: "c0ffee", HostKey: "ssh-ed25519 AAAAC3Nz", Keep: defaultKeep}
		if got := client.Peer(); got != want {
			t.Errorf("Peer = %+v, want %+v", got, want)
		}
		if got := server.(*Conn).Peer(); got != want {
			t.Errorf("server's Peer = %+v, want %+v", got, want)
		}
		if client.RemoteAddr().String() != strings.TrimPrefix(e.URL, "http://") || client.LocalAddr().Network() != "websocket" {
			t.Errorf("addresses: %v -> %v", client.LocalAddr(), client.RemoteAddr())
		}
	}
	if headers != 2 {
		t.Errorf("headers were made %d times for two dials", headers)
	}
}

func TestDialSendsOurHeaders(t *testing.T) {
	seen := make(chan *http.Request, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer srv.Close()
	_, err := Dial(t.Context(), Endpoint{URL: srv.URL + "/?token=x", Version: "v9", Header: func(context.Context) (http.Header, error) {
		return http.Header{"X-Serverless-Authorization": {"Bearer t"}}, nil
	}})
	r := <-seen
	if r.URL.String() != StreamPath || r.Header.Get(VersionHeader) != "v9" || r.Header.Get("X-Serverless-Authorization") != "Bearer t" {
		t.Errorf("request %s with %v", r.URL, r.Header)
	}
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 403 || status.Body != "no\n" {
		t.Fatalf("error = %#v, want a 403", err)
	}
	if want := "the server answered 403 Forbidden (this identity may not invoke the service): no"; err.Error() != want {
		t.Errorf("error text = %q, want %q", err, want)
	}
}

func TestVersionMismatch(t *testing.T) {
	_, e := serve(t, false)
	e.Version = "v0.9"
	_, err := Dial(t.Context(), e)
	var version *VersionError
	if !errors.As(err, &version) || *version != (VersionError{Client: "v0.9", Agent: testVersion}) {
		t.Errorf("error = %v, want a VersionError", err)
	}
}

func TestRefuse(t *testing.T) {
	l, e := serve(t, false)
	l.Refuse(http.StatusGone)
	_, err := Dial(t.Context(), e)
	var status *StatusError
	if !errors.As(err, &status) || status.Code != http.StatusGone || !strings.Contains(err.Error(), "being deleted") {
		t.Errorf("error = %v, want a 410", err)
	}
	l.Refuse(0)
	pair(t, l, e)
}

func TestBacklogIsBounded(t *testing.T) {
	l, e := serve(t, false)
	for range defaultBacklog {
		conn, err := Dial(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	_, err := Dial(t.Context(), e)
	var status *StatusError
	if !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable || status.Header.Get("Retry-After") == "" {
		t.Fatalf("error = %v, want a 503", err)
	}
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	conn, err := Dial(t.Context(), e)
	if err != nil {
		t.Fatalf("dialing with a slot free: %v", err)
	}
	conn.Close()
}

func TestListenerClose(t *testing.T) {
	l, e := serve(t, false)
	_, accepted := pair(t, l, e)
	waiting, err := Dial(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a stream that nobody accepted is still open")
	}
	if _, err := accepted.Write([]byte("x")); err != nil {
		t.Errorf("an accepted stream ended with the listener: %v", err)
	}
	var status *StatusError
	if _, err := Dial(t.Context(), e); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("dialing after Close: %v", err)
	}
}

func TestStatusAndOtherPaths(t *testing.T) {
	_, e := serve(t, false)
	for _, tt := range []struct {
		method, path string
		code         int
	}{
		{"GET", StatusPath, 200},
		{"POST", StatusPath, 405},
		{"POST", StreamPath, 405},
		{"GET", "/other", 404},
		{"GET", StreamPath, 400}, // no subprotocol, no upgrade
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, e.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(VersionHeader, testVersion)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.code || resp.Header.Get(VersionHeader) != testVersion {
			t.Errorf("%s %s: %s, %v", tt.method, tt.path, resp.Status, resp.Header)
		}
		var status Status
		if tt.code == 200 {
			if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || status != (Status{testVersion, "c0ffee"}) {
				t.Errorf("status = %+v, %v", status, err)
			}
		}
		resp.Body.Close()
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with %v", r.Header)
	}))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer srv.Close()
	var status *StatusError
	if _, err := Dial(t.Context(), Endpoint{URL: srv.URL}); !errors.As(err, &status) || status.Code != http.StatusFound {
		t.Errorf("error = %v, want the 302", err)
	}
}

func TestLocalhostNames(t *testing.T) {
	l, e := serve(t, false)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "hello-ssh-123456789012.us-central1.localhost", "LOCALHOST."} {
		e.URL = "http://" + net.JoinHostPort(host, port)
		pair(t, l, e)
	}
	for _, host := range []string{"localhost.example.com", "notlocalhost", "example.com"} {
		if isLocalhost(host) {
			t.Errorf("%s counts as localhost", host)
		}
	}
}

func TestDialErrors(t *testing.T) {
	broken := errors.New("no token")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("the user had enough"))
	for name, tt := range map[string]struct {
		ctx  context.Context
		e    Endpoint
		want string
	}{
		"no scheme": {t.Context(), Endpoint{URL: "twin.run.app"}, `URL "twin.run.app" is neither`},
		"bad URL":   {t.Context(), Endpoint{URL: "https://a b"}, "parsing the twin's URL"},
		"refused":   {t.Context(), Endpoint{URL: "http://127.0.0.1:1"}, "dialing 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		"cancelled": {ctx, Endpoint{URL: "http://127.0.0.1:1"}, "the user had enough"},
		"header": {t.Context(), Endpoint{URL: "http://x", Header: func(context.Context) (http.Header, error) {
			return nil, broken
		}}, "making request headers: no token"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Dial(tt.ctx, tt.e); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestStatusErrorText(t *testing.T) {
	for _, tt := range []struct {
		e    StatusError
		want string
	}{
		{
			StatusError{Code: 404, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>Google's 404</html>"},
			"the server answered 404 Not Found (there is no such service, or it does not run the agent)",
		},
		{StatusError{Code: 418, Body: " a\n b\xff "}, "the server answered 418 I'm a teapot: a b?"},
		{StatusError{Code: 500, Body: strings.Repeat("x", 300)}, "the server answered 500 Internal Server Error: " + strings.Repeat("x", 200) + "..."},
	} {
		if got := tt.e.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}
