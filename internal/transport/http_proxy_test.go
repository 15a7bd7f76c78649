package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A meddler does something else with a request than to pass it on.
type meddler func(*middlebox, http.ResponseWriter, *http.Request)

// A middlebox is an HTTP proxy of the kind that offices have.
type middlebox struct {
	upgrade  meddler // what becomes of upgrades; nil: they pass
	buffers  bool    // answers are passed on when they are complete
	onward   *http.Transport
	upgrades atomic.Int32
	opens    atomic.Int32 // of HTTP wires
	streams  atomic.Int32
	polls    atomic.Int32
}

func (m *middlebox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") != "":
		m.upgrades.Add(1)
		if m.upgrade != nil {
			m.upgrade(m, w, r)
			return
		}
	case r.URL.Path == openPath:
		m.opens.Add(1)
	case r.URL.Path == downPath:
		m.streams.Add(1)
	case r.URL.Path == pollPath:
		m.polls.Add(1)
	}
	proxy := m.proxy()
	if m.buffers {
		proxy.ModifyResponse = func(resp *http.Response) error {
			body, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			return errors.Join(err, nil)
		}
	}
	proxy.ServeHTTP(w, r)
}

// proxy passes a request on as it is.
func (m *middlebox) proxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, FlushInterval: -1, Transport: m.onward,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// behind is an agent that can only be reached through a middlebox. It must be
// inside synctest.Test: how long an answer takes decides about the wire.
func behind(t *testing.T, m *middlebox) (*Listener, Endpoint) {
	t.Helper()
	l := NewListener(testConfig())
	agent, office := newDelayNet(0), newDelayNet(0)
	var serving sync.WaitGroup
	servers := []*http.Server{{Handler: l}, {Handler: m}}
	serving.Go(func() { servers[0].Serve(agent) })
	serving.Go(func() { servers[1].Serve(office) })
	m.onward = &http.Transport{DialContext: agent.dial}
	transport := newTransport()
	transport.DialContext = office.dial
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
	t.Cleanup(func() {
		l.Close()
		for _, s := range servers {
			s.Close()
		}
		serving.Wait()
		m.onward.CloseIdleConnections()
		pass(time.Hour) // what still waits for its time-out
	})
	return l, Endpoint{URL: "http://twin.test", Version: testVersion, Client: &http.Client{Transport: transport}}
}

// echoes checks that a stream works, over the wire that is expected.
func echoes(t *testing.T, client *Conn, server net.Conn, want Wire) {
	t.Helper()
	var copying sync.WaitGroup
	copying.Go(func() { io.CopyN(server, server, 128<<10) })
	text := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	copying.Go(func() { client.Write(text) })
	got := make([]byte, len(text))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the echo differs, %v", err)
	}
	copying.Wait()
	if name := wireName(client); name != want.String() {
		t.Errorf("the wire is %q, want %q", name, want)
	}
}

func wireName(c *Conn) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return ""
	}
	return c.link.w.name()
}

func answer(code int) meddler {
	return func(_ *middlebox, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upgrades here", code) }
}

// hang up without an answer, or after one that looks like an upgrade.
func hangUp(first string) meddler {
	return func(_ *middlebox, w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, first)
		conn.Close()
	}
}

func (m *middlebox) strip(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Upgrade")
	r.Header.Del("Connection")
	m.proxy().ServeHTTP(w, r)
}

// passAndCut lets the upgrade through, and no frame after it.
func (m *middlebox) passAndCut(w http.ResponseWriter, r *http.Request) {
	proxy := m.proxy()
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Body = &deafBody{resp.Body.(io.ReadWriteCloser)}
		return nil
	}
	proxy.ServeHTTP(w, r)
}

type deafBody struct{ io.ReadWriteCloser }

func (b *deafBody) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever a proxy does to upgrades, the session works without, and the client
// does not ask for one again.
func TestFallBack(t *testing.T) {
	for name, upgrade := range map[string]meddler{
		"200":       answer(http.StatusOK),
		"400":       answer(http.StatusBadRequest),
		"403":       answer(http.StatusForbidden),
		"405":       answer(http.StatusMethodNotAllowed),
		"426":       answer(http.StatusUpgradeRequired),
		"501":       answer(http.StatusNotImplemented),
		"502":       answer(http.StatusBadGateway),
		"stripped":  (*middlebox).strip,
		"cut":       hangUp(""),
		"fake":      hangUp("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
		"cut after": (*middlebox).passAndCut,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fallsBack(t, &middlebox{upgrade: upgrade}) })
		})
	}
}

func fallsBack(t *testing.T, m *middlebox) {
	t.Helper()
	l, e := behind(t, m)
	var state atomic.Pointer[State]
	e.Observe = func(s State) { state.Store(&s) }
	client, server := pair(t, l, e)
	echoes(t, client, server, WireHTTP)
	if got := state.Load(); got == nil || got.Wire != "http" || got.Phase != Connected {
		t.Errorf("state = %+v", got)
	}
	asked := m.upgrades.Load()
	unplug(client)
	echoes(t, client, server, WireHTTP)
	if again := m.upgrades.Load() - asked; again != 0 {
		t.Errorf("an upgrade was asked for %d times after it was refused", again)
	}
	if m.polls.Load() != 0 {
		t.Error("it polls although responses stream")
	}
}

// What the agent, the front door or the network says is no reason to try
// another wire.
func TestNoFallBack(t *testing.T) {
	type attempt struct {
		name    string
		upgrade meddler
		refuse  int    // what the agent refuses with
		version string // the client's
		wire    Wire
		want    int // the status in the error; 0: another version is
	}
	attempts := []attempt{
		{name: "another version", version: "v0"},
		{name: "told to use a WebSocket", version: testVersion, upgrade: answer(http.StatusForbidden), wire: WireWebSocket, want: http.StatusForbidden},
	}
	for _, code := range []int{401, 404, 407, 410, 429, 500, 503, 504} {
		attempts = append(attempts, attempt{name: fmt.Sprint(code), version: testVersion, upgrade: answer(code), want: code})
	}
	for _, code := range []int{http.StatusGone, http.StatusForbidden, http.StatusServiceUnavailable} {
		attempts = append(attempts, attempt{name: fmt.Sprint("agent's ", code), version: testVersion, refuse: code, want: code})
	}
	for _, tt := range attempts {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &middlebox{upgrade: tt.upgrade}
				l, e := behind(t, m)
				l.Refuse(tt.refuse)
				e.Version, e.Wire = tt.version, tt.wire
				var status *StatusError
				var version *VersionError
				_, err := Dial(t.Context(), e)
				if tt.want == 0 && !errors.As(err, &version) || tt.want != 0 && (!errors.As(err, &status) || status.Code != tt.want) {
					t.Errorf("error = %v, want %d", err, tt.want)
				}
				if n := m.opens.Load(); n != 0 {
					t.Errorf("plain requests were tried %d times", n)
				}
			})
		})
	}
}

func TestToldToUseHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &middlebox{}
		l, e := behind(t, m)
		e.Wire = WireHTTP
		client, server := pair(t, l, e)
		echoes(t, client, server, WireHTTP)
		if m.upgrades.Load() != 0 {
			t.Error("an upgrade was tried")
		}
	})
}

// Where nothing helps, the first error says most.
func TestFirstErrorCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &middlebox{upgrade: answer(http.StatusForbidden)}
		l, e := behind(t, m)
		l.mux = http.NewServeMux() // 404 to all else
		l.mux.HandleFunc(openPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del(VersionHeader)
			http.Error(w, "nor this", http.StatusForbidden)
		})
		var status *StatusError
		if _, err := Dial(t.Context(), e); !errors.As(err, &status) || status.Body != "no upgrades here\n" {
			t.Errorf("error = %v", err)
		}
	})
}

// Where responses are held back, polls take their place.
func TestBufferingProxy(t *testing.T) { synctest.Test(t, bufferingProxy) }

func bufferingProxy(t *testing.T) {
	t.Helper()
	m := &middlebox{upgrade: answer(http.StatusForbidden), buffers: true}
	l, e := behind(t, m)
	client, server := pair(t, l, e)
	echoes(t, client, server, WireHTTP)
	if m.polls.Load() == 0 {
		t.Error("it does not poll")
	}
	unplug(client)
	echoes(t, client, server, WireHTTP)
	if n := m.streams.Load(); n != 1 {
		t.Errorf("streaming was tried %d times", n)
	}
}

// An upgrade that is never answered, and one after which nothing comes.
func TestSwallowedUpgrade(t *testing.T) {
	for _, name := range []string{"unanswered", "deaf"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newDelayNet(time.Millisecond)
				l := NewListener(testConfig())
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Upgrade") == "" {
						l.ServeHTTP(w, r)
						return
					}
					if name == "unanswered" {
						<-r.Context().Done()
						return
					}
					upgradeIntoHole(t, w, r)
				})}
				served := make(chan struct{})
				go func() {
					defer close(served)
					srv.Serve(n)
				}()
				start := time.Now()
				client, err := Dial(t.Context(), Endpoint{
					URL: "http://twin.test", Version: testVersion,
					Client: &http.Client{Transport: &http.Transport{DialContext: n.dial}},
				})
				if err != nil {
					t.Fatal(err)
				}
				server, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("dialling took %s", took)
				}
				echoes(t, client, server, WireHTTP)
				client.Close()
				server.Close()
				l.Close()
				srv.Close()
				<-served
				pass(time.Minute)
			})
		})
	}
}

// upgradeIntoHole answers an upgrade as an agent would, and nothing after it.
func upgradeIntoHole(t *testing.T, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	w.Header().Set(VersionHeader, testVersion)
	ws, err := acceptWS(w, r)
	if err != nil {
		t.Error(err)
		return
	}
	for {
		if _, err := ws.read(); err != nil {
			return
		}
	}
}

// A plain network error is final for the attempt: nothing else is tried.
func TestNetworkErrorIsNoReasonToFallBack(t *testing.T) {
	dials := 0
	_, err := Dial(t.Context(), Endpoint{URL: "http://twin.test", Version: testVersion, Client: &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}
		},
	}}})
	if err == nil || dials != 1 {
		t.Errorf("error = %v after %d attempts", err, dials)
	}
}

// Both wires work through both kinds of tunnelling proxy, over TLS.
func TestTunnellingProxies(t *testing.T) {
	for name, proxy := range map[string]func(t *testing.T, target string) *url.URL{
		"CONNECT": func(t *testing.T, target string) *url.URL {
			t.Helper()
			srv := httptest.NewServer(connectProxy(make(chan string, 100), target))
			t.Cleanup(srv.Close)
			return &url.URL{Scheme: "http", Host: srv.Listener.Addr().String()}
		},
		"SOCKS5": func(t *testing.T, target string) *url.URL {
			t.Helper()
			return &url.URL{Scheme: "socks5", Host: socksProxy(t, target)}
		},
	} {
		for _, kind := range []Wire{WireWebSocket, WireHTTP} {
			t.Run(fmt.Sprint(name, " ", kind), func(t *testing.T) {
				l, e := serve(t, true)
				target, err := url.Parse(e.URL)
				if err != nil {
					t.Fatal(err)
				}
				transport := e.Client.Transport.(*http.Transport)
				transport.Proxy = http.ProxyURL(proxy(t, target.Host))
				e.URL, e.Wire, e.filler = "https://example.com", kind, time.Minute // which only the proxy finds
				client, server := pair(t, l, e)
				echoes(t, client, server, kind)
			})
		}
	}
}

// socksProxy is a SOCKS5 server (RFC 1928) that connects to target, wherever it
// is asked to.
func socksProxy(t *testing.T, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := serveSocks(conn, target); err != nil {
					t.Errorf("serving SOCKS: %v", err)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func serveSocks(conn net.Conn, target string) error {
	r := bufio.NewReader(conn)
	methods := make([]byte, 2)
	if _, err := io.ReadFull(r, methods); err != nil {
		return err
	}
	if _, err := r.Discard(int(methods[1])); err != nil {
		return err
	}
	conn.Write([]byte{5, 0}) // no credentials
	head := make([]byte, 5)  // version, CONNECT, reserved, a name, its length
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	name := make([]byte, int(head[4])+2)
	if _, err := io.ReadFull(r, name); err != nil {
		return err
	}
	if head[1] != 1 || head[3] != 3 || string(name[:len(name)-2]) != "example.com" || binary.BigEndian.Uint16(name[len(name)-2:]) != 443 {
		return fmt.Errorf("asked for %v %q", head, name)
	}
	to, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer to.Close()
	conn.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
	go func() {
		io.Copy(to, r)
		to.Close()
	}()
	io.Copy(conn, to)
	return nil
}

// Every request of a stream carries the cookie that leads to its instance.
func TestAffinityCookie(t *testing.T) {
	for _, kind := range []Wire{WireWebSocket, WireHTTP} {
		t.Run(kind.String(), func(t *testing.T) {
			l := NewListener(testConfig())
			var without atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := r.Cookie("GAESA"); err != nil {
					without.Add(1)
					http.SetCookie(w, &http.Cookie{Name: "GAESA", Value: "x", HttpOnly: true})
				}
				l.ServeHTTP(w, r)
			}))
			defer srv.Close()
			defer l.Close()
			client, server := pair(t, l, Endpoint{URL: srv.URL, Version: testVersion, Wire: kind, filler: time.Minute})
			for range 3 {
				unplug(client)
				echoes(t, client, server, kind)
			}
			if n := without.Load(); n != 1 {
				t.Errorf("%d requests without the cookie, want the first", n)
			}
		})
	}
}

// Where WebSockets have worked, a single refusal is the front door's trouble and
// not a policy. Refusals that go on are one.
func TestFallBackLater(t *testing.T) { synctest.Test(t, fallBackLater) }

func fallBackLater(t *testing.T) {
	t.Helper()
	var refusals atomic.Int32
	m := &middlebox{upgrade: func(m *middlebox, w http.ResponseWriter, r *http.Request) {
		if refusals.Add(-1) >= 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		m.proxy().ServeHTTP(w, r)
	}}
	l, e := behind(t, m)
	client, server := pair(t, l, e)
	echoes(t, client, server, WireWebSocket)
	for _, tt := range []struct {
		refusals int32
		want     Wire
	}{{1, WireWebSocket}, {100, WireHTTP}} {
		refusals.Store(tt.refusals)
		unplug(client)
		echoes(t, client, server, tt.want)
	}
}
