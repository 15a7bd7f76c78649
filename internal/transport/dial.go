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

// dialTimeout bounds the first attempt. A request to a service without a running
// instance waits in Cloud Run's front end while one starts.
const dialTimeout = time.Minute

// Dial opens a new stream to an agent, in one attempt. ctx bounds the dialling,
// not the connection, which from then on looks after itself: it moves to
// another wire before the platform cuts the one it has, and dials again, for
// ever, when the network took it away.
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
	k := newKeeper(e, newStream(addr("client"), addr(u.Host)))
	if err := k.begin(ctx); err != nil {
		return nil, err
	}
	return &Conn{stream: k.s, id: k.id, peer: k.peer, keeper: k}, nil
}

// openWebSocket upgrades a request to a WebSocket.
func (e Endpoint) openWebSocket(ctx context.Context) (wire, Peer, error) {
	u, err := streamURL(e.URL)
	if err != nil {
		return nil, Peer{}, err
	}
	header, err := e.header(ctx)
	if err != nil {
		return nil, Peer{}, err
	}
	w := newWSWire()
	client, up := e.client(w.came)
	ws, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{ //nolint:bodyclose // the body is ws itself, or in memory after an error
		HTTPClient:     client,
		HTTPHeader:     header,
		Subprotocols:   []string{Subprotocol},
		OnPingReceived: w.answerPing,
	})
	if err != nil {
		return nil, Peer{}, e.dialError(ctx, u, resp, err)
	}
	peer := peerOf(resp.Header)
	if err := e.check(ws.Subprotocol(), peer); err != nil {
		return nil, Peer{}, errors.Join(err, ws.CloseNow())
	}
	w.attach(ws, up.conn)
	return w, peer, nil
}

// peerOf is who answered, by the header of the answer.
func peerOf(header http.Header) Peer {
	return Peer{
		Version:  header.Get(VersionHeader),
		Instance: header.Get(InstanceHeader),
		HostKey:  header.Get(HostKeyHeader),
	}
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
			return nil, &headerError{err}
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
		return fmt.Errorf("%w: it does not speak %s", errNoUpgrade, Subprotocol)
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
	if resp != nil { // an upgrade, but not to what was asked for
		err = errors.Join(errNoUpgrade, err)
	}
	return fmt.Errorf("dialing %s: %w", u.Host, err)
}

func (e Endpoint) statusError(resp *http.Response) error {
	agent := resp.Header.Get(VersionHeader)
	if resp.StatusCode == http.StatusUpgradeRequired && agent != "" && agent != e.Version {
		return &VersionError{Client: e.Version, Agent: agent}
	}
	if resp.StatusCode == http.StatusBadRequest && agent == e.Version {
		return fmt.Errorf("%w: it took the upgrade out of the request", errNoUpgrade)
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

// headerError says that Endpoint.Header failed: no token could be had.
type headerError struct{ err error }

func (e *headerError) Error() string { return "making request headers: " + e.err.Error() }
func (e *headerError) Unwrap() error { return e.err }
