package serving

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

const (
	copyBuffer = 32 << 10
	// maxBody is the platform's limit on requests and responses over HTTP/1.
	maxBody = 32 << 20
	// idleConn is how long a connection to a container is kept for the next request: less than what servers do, so
	// that a request rarely meets one that the server is just closing.
	idleConn = 4 * time.Second
	// notice is how long an answer to a request that an instance broke off waits for the end of that instance to be
	// known, so that the client's next request does not meet it.
	notice = 250 * time.Millisecond
)

var (
	errTimeout  = errors.New("the request timed out")
	errGone     = errors.New("the instance has ended")
	errTooLarge = errors.New("the response is too large")
)

// Handler serves requests to a revision, be it deployed already or not: each request looks it up. It waits for an
// instance, starts one if need be, applies the request timeout and answers as Cloud Run's front end when there is none: 429
// when all instances stay busy for 30 s, 503 when an instance does not start or breaks off, 504 at the timeout. Who may
// call is for the ingress before it to decide.
func (f *Fleet) Handler(key Key) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rev := f.find(key)
		if rev == nil {
			refuse(w, http.StatusNotFound, "Page not found")
			return
		}
		if r.ProtoMajor == 1 && r.ContentLength > maxBody {
			refuse(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
			return
		}
		i, err := rev.acquire(r.Context())
		if err != nil {
			rev.refuse(w, err)
			return
		}
		defer rev.release(i)
		i.forward(w, r)
	})
}

// refuse answers for the platform.
func refuse(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	h.Set("Server", serverName)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // who does not read it has left
}

// refuse answers a request that got no instance.
func (r *revision) refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errBusy):
		r.log.printf("The request was aborted because there was no available instance.")
		refuse(w, http.StatusTooManyRequests, "Rate exceeded.")
	case errors.Is(err, errNotStarted):
		r.log.printf("The request failed because the instance could not start successfully.")
		refuse(w, http.StatusServiceUnavailable, "Service Unavailable")
	default: // not serving, or the client has left
		refuse(w, http.StatusServiceUnavailable, "Service Unavailable")
	}
}

func (i *instance) newTransport() *http.Transport {
	protocols := new(http.Protocols)
	if i.revision.plan.h2c {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	return &http.Transport{
		DialContext:         i.dial,
		DisableCompression:  true, // what the container says goes to the client as it is
		MaxIdleConnsPerHost: i.revision.plan.concurrency,
		IdleConnTimeout:     idleConn,
		Protocols:           protocols,
	}
}

// forward serves one request from the instance.
func (i *instance) forward(w http.ResponseWriter, r *http.Request) {
	open, cut := context.WithCancelCause(r.Context())
	defer cut(nil)
	defer context.AfterFunc(i.open, func() { cut(errGone) })()
	ctx, cancel := context.WithTimeoutCause(open, i.revision.plan.timeout, errTimeout)
	defer cancel()
	defer i.logTimeout(ctx)

	x := &exchange{ResponseWriter: w, ctx: ctx}
	defer x.watch()()
	logger := i.revision.fleet.o.Logger
	proxy := &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      i.transport,
		FlushInterval:  -1,
		BufferPool:     bufferPool{i.revision.fleet},
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ModifyResponse: modify,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { i.broken(x, r, err) },
	}
	out := r.WithContext(ctx)
	if r.ProtoMajor == 1 && r.ContentLength < 0 {
		out.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	proxy.ServeHTTP(x, out)
}

func (i *instance) logTimeout(ctx context.Context) {
	if errors.Is(context.Cause(ctx), errTimeout) {
		i.revision.log.printf("The request has been terminated because it has reached the maximum request timeout. " +
			"To change this limit, see https://cloud.google.com/run/docs/configuring/request-timeout")
	}
}

// broken answers a request that the instance has not.
func (i *instance) broken(x *exchange, r *http.Request, err error) {
	if x.hijacked.Load() {
		return
	}
	var tooLarge *http.MaxBytesError
	cause := context.Cause(r.Context())
	switch {
	case errors.Is(cause, errTimeout):
		refuse(x, http.StatusGatewayTimeout, "upstream request timeout")
	case errors.Is(err, errTooLarge):
		i.revision.log.printf("Response size was too large. Please consider reducing response size.")
		refuse(x, http.StatusInternalServerError, "Response size was too large.")
	case errors.As(err, &tooLarge):
		refuse(x, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case cause != nil && !errors.Is(cause, errGone):
		// The client has left.
	default:
		_ = wait(i.life, notice) // either will do
		i.revision.log.printf("The request failed because either the HTTP response was malformed or connection to the instance had an error.")
		refuse(x, http.StatusServiceUnavailable, "upstream connect error or disconnect/reset before headers. reset reason: connection termination")
	}
}

// An exchange is a response that can be cut off, whatever state it is in.
type exchange struct {
	http.ResponseWriter
	ctx      context.Context //nolint:containedctx // the request's
	started  atomic.Bool
	hijacked atomic.Bool
}

func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(code int) {
	if code >= http.StatusOK {
		x.started.Store(true)
	}
	x.ResponseWriter.WriteHeader(code)
}

// Hijack hands the client's connection out. It is closed when the context ends: the proxy by itself would only
// close the container's, and wait for a client that does not read.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err == nil {
		x.hijacked.Store(true)
		context.AfterFunc(x.ctx, func() { _ = conn.Close() }) // the proxy closes it, too
	}
	return conn, rw, err
}

// watch keeps a client that does not read from holding a response past the end of its context. The function that it returns
// ends the watch.
func (x *exchange) watch() func() {
	done := make(chan struct{})
	stop := context.AfterFunc(x.ctx, func() {
		defer close(done)
		if x.started.Load() && !x.hijacked.Load() {
			// An error means that the connection cannot do that: then it has ended.
			_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Now())
		}
	})
	return func() {
		if !stop() {
			<-done // the connection's next request must not get the deadline
		}
	}
}

// bufferPool shares the buffers of responses.
type bufferPool struct{ fleet *Fleet }

func (p bufferPool) Get() []byte { return p.fleet.buffers.Get().(*[copyBuffer]byte)[:] }

func (p bufferPool) Put(b []byte) { p.fleet.buffers.Put((*[copyBuffer]byte)(b)) }
