package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
)

// dialTimeout bounds one attempt. A request to a service without a running
// instance waits in Cloud Run's front end while one starts.
const dialTimeout = time.Minute

// Dial connects to an agent, in one attempt. ctx bounds the dialling, not the
// connection.
//
// The error is a *VersionError when client and agent do not match, a
// *StatusError when something other than an upgrade was answered, and else the
// network's.
func Dial(ctx context.Context, e Endpoint) (*Conn, error) {
	u, err := streamURL(e.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no answer within %s", dialTimeout))
	defer cancel()
	header, err := e.header(ctx)
	if err != nil {
		return nil, err
	}
	s := newStream(addr("client"), addr(u.Host))
	l := newLink(s, clientDead)
	client, up := e.client()
	ws, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{ //nolint:bodyclose // the body is ws itself, or in memory after an error
		HTTPClient:     client,
		HTTPHeader:     header,
		Subprotocols:   []string{Subprotocol},
		OnPingReceived: l.answerPing,
	})
	if err != nil {
		return nil, e.dialError(ctx, u, resp, err)
	}
	peer := Peer{
		Version:  resp.Header.Get(VersionHeader),
		Instance: resp.Header.Get(InstanceHeader),
		HostKey:  resp.Header.Get(HostKeyHeader),
	}
	if err := e.check(ws.Subprotocol(), peer); err != nil {
		return nil, errors.Join(err, ws.CloseNow())
	}
	l.attach(ws, up.conn, up.conn.Flush)
	return &Conn{stream: s, peer: peer}, nil
}

func streamURL(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("parsing the twin's URL: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("the twin's URL %q is neither http:// nor https://", base)
	}
	u = u.JoinPath(StreamPath)
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// header is a header of our own with the caller's fresh ones in it.
func (e Endpoint) header(ctx context.Context) (http.Header, error) {
	header := http.Header{}
	if e.Header != nil {
		fresh, err := e.Header(ctx)
		if err != nil {
			return nil, fmt.Errorf("making request headers: %w", err)
		}
		header = fresh.Clone()
		if header == nil {
			header = http.Header{}
		}
	}
	header.Set(VersionHeader, e.Version)
	return header, nil
}

// check says whether what was reached is an agent of our version.
func (e Endpoint) check(subprotocol string, peer Peer) error {
	if subprotocol != Subprotocol {
		return fmt.Errorf("the server took the upgrade but does not speak %s: it is not an agent", Subprotocol)
	}
	if peer.Version != e.Version {
		return &VersionError{Client: e.Version, Agent: peer.Version}
	}
	return nil
}

// dialError makes the documented errors of what the WebSocket library says.
func (e Endpoint) dialError(ctx context.Context, u *url.URL, resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return e.statusError(resp)
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("dialing %s: %w", u.Host, cause)
	}
	var request *url.Error // its own text repeats method and URL
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("dialing %s: %w", u.Host, err)
}

func (e Endpoint) statusError(resp *http.Response) error {
	agent := resp.Header.Get(VersionHeader)
	if resp.StatusCode == http.StatusUpgradeRequired && agent != "" && agent != e.Version {
		return &VersionError{Client: e.Version, Agent: agent}
	}
	status := &StatusError{Code: resp.StatusCode, Header: resp.Header}
	if resp.Body != nil {
		// The library kept the first 1024 bytes; a body cut short is still worth showing.
		body, _ := io.ReadAll(resp.Body)
		status.Body = string(body)
	}
	return status
}

// addr is the address of one end of a stream.
type addr string

func (addr) Network() string  { return "websocket" }
func (a addr) String() string { return string(a) }
