package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	connectTimeout = 15 * time.Second // per address
	tlsTimeout     = 15 * time.Second
)

// client is the HTTP client for one dial, and the upgrader inside it.
func (e Endpoint) client(heard func()) (*http.Client, *upgrader) {
	client := &http.Client{}
	if e.Client != nil {
		*client = *e.Client
	}
	up := &upgrader{base: client.Transport, heard: heard}
	switch {
	case e.Client == nil:
		up.base = newTransport()
	case up.base == nil:
		up.base = http.DefaultTransport
	}
	client.Transport = up
	// A redirect would carry the ID token to another host.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, up
}

// newTransport speaks HTTP/1.1 only: the upgrade does not exist in HTTP/2 as
// Cloud Run serves it. It keeps no connection, since each carries one stream.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         dialLocal(&net.Dialer{Timeout: connectTimeout, KeepAlive: pingInterval}),
		TLSHandshakeTimeout: tlsTimeout,
		DisableKeepAlives:   true,
		Protocols:           protocols,
	}
}

// proxy is the environment's, but never for this machine.
func proxy(req *http.Request) (*url.URL, error) {
	if isLocalhost(req.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}

// isLocalhost reports whether host is a name of the loopback interface.
// RFC 6761 §6.3: names ending in .localhost are, and need no resolver; many
// resolvers do not know it.
func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// dialLocal is d.DialContext with localhost names resolved.
func dialLocal(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || !isLocalhost(host) {
			return d.DialContext(ctx, network, address)
		}
		conn, err4 := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		if err4 == nil {
			return conn, nil
		}
		conn, err6 := d.DialContext(ctx, network, net.JoinHostPort("::1", port))
		if err6 != nil {
			return nil, errors.Join(err4, err6)
		}
		return conn, nil
	}
}
