package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// headerAge is how long the caller's headers serve for further requests of
	// one connection. Their ID token lives far longer.
	headerAge = time.Minute
	// fillerTime is how long the first bytes of the stream may take, at least;
	// else something on the way waits for its end.
	fillerTime = 1500 * time.Millisecond
	// fillerTimeMax is the most that a slow network adds to that.
	fillerTimeMax = 6 * time.Second
)

// errBuffered says that a response does not come before it is complete.
var errBuffered = errors.New("a proxy on the way holds responses back until they are complete")

// An httpWire is the client's end of a connection made of HTTP requests.
type httpWire struct {
	e      Endpoint
	base   *url.URL
	client *http.Client
	id     string

	ctx     context.Context // of requests for frames, ends with the wire
	cancel  context.CancelFunc
	posting context.Context // of requests that carry frames, ends a moment later
	stop    context.CancelFunc

	body   io.ReadCloser // the stream; nil with polls
	stream *bufio.Reader
	heard  func() // set before the first read
	frame  []byte
	rest   []byte // of the answer to a poll

	mu      sync.Mutex
	room    *sync.Cond // the writer waits here
	arrived *sync.Cond // the reader waits here for answers to polls, pollers for the reader
	out     []byte     // records for the next POST
	posts   int        // under way
	post    uint64     // sequence number of the next POST
	poll    uint64     // of the next poll
	turn    uint64     // of the poll that is read next
	answers map[uint64]httpAnswer
	err     error // why the wire has ended

	making sync.Mutex // held while the header is made: once is enough
	header http.Header
	made   time.Time
}

// openHTTP connects to the agent by plain requests: with a response that
// streams, or by polls where that is known not to work. ctx bounds the
// opening, not the wire.
func (e Endpoint) openHTTP(ctx context.Context, polls bool) (wire, Peer, error) {
	base, err := streamURL(e.URL)
	if err != nil {
		return nil, Peer{}, err
	}
	w := e.newHTTPWire(base)
	opened := context.AfterFunc(ctx, w.cancel)
	peer, err := w.open(ctx, polls)
	if err == nil && !opened() {
		err = context.Cause(ctx)
	}
	if err != nil {
		w.close() //nolint:errcheck // it has no error
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, Peer{}, e.requestError(base, err)
	}
	return w, peer, nil
}

// requestError keeps the documented errors and puts others plainly.
func (e Endpoint) requestError(u *url.URL, err error) error {
	var status *StatusError
	var version *VersionError
	if errors.As(err, &status) || errors.As(err, &version) || errors.Is(err, errBuffered) {
		return err
	}
	return fmt.Errorf("dialing %s: %w", u.Host, plainRequestError(err))
}

// plainRequestError takes method and URL, which say nothing new, off an error.
func plainRequestError(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

func (e Endpoint) newHTTPWire(base *url.URL) *httpWire {
	id := make([]byte, 16)
	rand.Read(id) // never fails, says its documentation
	w := &httpWire{
		e: e, base: base, client: e.plainClient(), id: hex.EncodeToString(id),
		heard: func() {}, frame: make([]byte, maxFrame), answers: map[uint64]httpAnswer{},
	}
	w.posting, w.stop = context.WithCancel(context.Background())
	w.ctx, w.cancel = context.WithCancel(w.posting)
	w.room, w.arrived = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	return w
}

// plainClient is an HTTP client that keeps its connections, for one wire.
func (e Endpoint) plainClient() *http.Client {
	client := &http.Client{}
	if e.Client != nil {
		*client = *e.Client
	}
	transport, ok := client.Transport.(*http.Transport)
	if e.Client == nil {
		transport, ok = newTransport(), true
	}
	if ok {
		transport = transport.Clone()
		transport.DisableKeepAlives = false
		transport.MaxIdleConnsPerHost = maxPosts + maxPolls
		transport.DisableCompression = true // SSH's bytes do not compress
		client.Transport = transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = 0
	return client
}

// open makes the connection and, without polls, its stream.
func (w *httpWire) open(ctx context.Context, polls bool) (Peer, error) {
	start := time.Now()
	resp, err := w.do(w.ctx, http.MethodPost, openPath, nil, 0)
	if err != nil {
		return Peer{}, err
	}
	drain(resp)
	peer := Peer{
		Version:  resp.Header.Get(VersionHeader),
		Instance: resp.Header.Get(InstanceHeader),
		HostKey:  resp.Header.Get(HostKeyHeader),
	}
	if peer.Version != w.e.Version {
		return Peer{}, &VersionError{Client: w.e.Version, Agent: peer.Version}
	}
	if polls {
		for range maxPolls {
			go w.pollLoop()
		}
		return peer, nil
	}
	return peer, w.openStream(ctx, time.Since(start))
}

// openStream asks for the stream and waits for the filler in front of it.
func (w *httpWire) openStream(ctx context.Context, roundTrip time.Duration) error {
	limit := max(fillerTime, min(4*roundTrip, fillerTimeMax), w.e.filler)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errBuffered)
	defer cancel()
	streaming, stop := context.WithCancel(w.ctx)
	late := context.AfterFunc(ctx, stop)
	resp, err := w.do(streaming, http.MethodGet, downPath, nil, 0) //nolint:bodyclose // read closes it, and the wire's end
	if err == nil {
		w.body = resp.Body
		_, err = io.ReadFull(resp.Body, w.frame[:frameHead])
	}
	if !late() {
		stop()
		return context.Cause(ctx)
	}
	if err != nil {
		stop()
		return err
	}
	w.stream = bufio.NewReaderSize(&heardReader{w.body, func() { w.heard() }}, 64<<10)
	return nil
}

// do makes a request and refuses answers that are not an agent's 200.
func (w *httpWire) do(ctx context.Context, method, path string, body []byte, sequence uint64) (*http.Response, error) {
	u := *w.base
	u.Path = path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body)) //nolint:gosec // to the twin, as the caller says
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	header, err := w.requestHeader(ctx)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set(connectionHeader, w.id)
	req.Header.Set("Cache-Control", "no-store")
	// Sent again by net/http if the connection turns out to be dead: the
	// agent knows requests by their numbers. The field itself is not sent.
	req.Header["Idempotency-Key"] = []string{}
	switch path {
	case upPath:
		req.Header.Set("Content-Type", "application/octet-stream")
		fallthrough
	case pollPath:
		req.Header.Set(sequenceHeader, strconv.FormatUint(sequence, 10))
	}
	resp, err := w.client.Do(req) //nolint:gosec // as above
	if err != nil {
		return nil, plainRequestError(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get(VersionHeader) == "" {
		defer drain(resp)
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, 1024), resp.Body}
		return nil, w.e.statusError(resp)
	}
	return resp, nil
}

// requestHeader is a copy of the caller's headers, made anew now and then.
func (w *httpWire) requestHeader(ctx context.Context) (http.Header, error) {
	w.making.Lock()
	defer w.making.Unlock()
	if w.header == nil || time.Since(w.made) >= headerAge {
		header, err := w.e.header(ctx)
		if err != nil {
			return nil, err
		}
		w.header, w.made = header, time.Now()
	}
	return w.header.Clone(), nil
}

// drain lets a short answer's connection be used again.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10) //nolint:errcheck // the answer is known
	resp.Body.Close()                       //nolint:errcheck // as above
}

func (w *httpWire) name() string { return WireHTTP.String() }

func (w *httpWire) progress(heard func()) { w.heard = heard }

func (w *httpWire) close() error {
	w.fail(net.ErrClosed)
	return nil
}

// fail ends the wire; the first reason counts. What was written goes out if it
// takes no longer than a moment, as it would from a socket's buffer.
func (w *httpWire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	w.room.Broadcast()
	w.arrived.Broadcast()
	w.cancel()
	if errors.Is(err, net.ErrClosed) && w.posts > 0 {
		time.AfterFunc(closeTimeout, w.release)
		return
	}
	go w.release() // not here: it may wait for a TLS alert to leave
}

// release lets go of the network.
func (w *httpWire) release() {
	w.stop()
	w.client.CloseIdleConnections()
}

// failed is why the wire has ended, or nil.
func (w *httpWire) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// write adds frames to the next POST, which starts at once if there are not too
// many under way. What comes meanwhile goes with the one after.
func (w *httpWire) write(frames ...[]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, frame := range frames {
		for w.err == nil && len(w.out)+frameHead+len(frame) > maxBody {
			w.room.Wait()
		}
		if w.err != nil {
			return w.err
		}
		w.out = appendRecord(w.out, frame)
	}
	w.sendMore()
	return nil
}

// sendMore starts a POST if it may. The mutex is held.
func (w *httpWire) sendMore() {
	if len(w.out) == 0 || w.posts == maxPosts {
		return
	}
	body, sequence := w.out, w.post
	w.out = nil
	w.post++
	w.posts++
	w.room.Broadcast()
	go func() {
		resp, err := w.do(w.posting, http.MethodPost, upPath, body, sequence)
		if err != nil {
			w.fail(fmt.Errorf("sending: %w", err))
			w.release()
			return
		}
		drain(resp)
		w.mu.Lock()
		w.posts--
		w.sendMore()
		done := w.err != nil && w.posts == 0
		w.mu.Unlock()
		if done {
			w.release()
		}
	}()
}

func (w *httpWire) read() ([]byte, error) {
	if w.stream == nil {
		return w.readPolled()
	}
	frame, err := readRecord(w.stream, w.frame)
	if err == nil {
		return frame, nil
	}
	w.body.Close() //nolint:errcheck // it was only read from
	if failed := w.failed(); failed != nil {
		return nil, failed
	}
	return nil, err
}
