package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// What a startup probe is when the service sets none.
const (
	startupTimeout = 240 * time.Second
	startupPeriod  = 240 * time.Second
)

// How often a probe looks whether someone listens by now: soon at first, for a fast server, and seldom at last.
const (
	firstPoll = 2 * time.Millisecond
	lastPoll  = 200 * time.Millisecond
)

// A probe is a startup or liveness probe.
type probe struct {
	kind      string // "TCP", "HTTP" or "GRPC"
	port      int
	path      string              // HTTP
	headers   []*runpb.HTTPHeader // HTTP
	service   string              // gRPC
	delay     time.Duration
	timeout   time.Duration
	period    time.Duration
	threshold int
	implicit  bool // the service did not ask for it
}

type dialer func(ctx context.Context, port int) (net.Conn, error)

func defaultStartupProbe(port int) *probe {
	return &probe{kind: "TCP", port: port, timeout: startupTimeout, period: startupPeriod, threshold: 1, implicit: true}
}

// newProbe reads a probe; port is the ingress container's, the default. A probe without an action is TCP.
func newProbe(spec *runpb.Probe, port int) *probe {
	if spec == nil {
		return nil
	}
	seconds := func(n, fallback int32) time.Duration { return time.Duration(cmp.Or(n, fallback)) * time.Second }
	p := &probe{
		kind:      "TCP",
		port:      cmp.Or(int(spec.GetTcpSocket().GetPort()), port),
		delay:     seconds(spec.GetInitialDelaySeconds(), 0),
		timeout:   seconds(spec.GetTimeoutSeconds(), 1),
		period:    seconds(spec.GetPeriodSeconds(), 10),
		threshold: int(cmp.Or(spec.GetFailureThreshold(), 3)),
	}
	switch kind := spec.GetProbeType().(type) {
	case *runpb.Probe_HttpGet:
		p.kind, p.headers = "HTTP", kind.HttpGet.GetHttpHeaders()
		p.port, p.path = cmp.Or(int(kind.HttpGet.GetPort()), port), cmp.Or(kind.HttpGet.GetPath(), "/")
	case *runpb.Probe_Grpc:
		p.kind, p.service = "GRPC", kind.Grpc.GetService()
		p.port = cmp.Or(int(kind.Grpc.GetPort()), port)
	}
	return p
}

// String is how the platform's log lines name what is probed.
func (p *probe) String() string {
	if p.kind == "HTTP" {
		return fmt.Sprintf("port %d path %q", p.port, p.path)
	}
	return fmt.Sprintf("port %d", p.port)
}

// untilStarted probes until the probe succeeds or has failed as often as it may. It returns how many attempts it took.
func (p *probe) untilStarted(ctx context.Context, dial dialer) (attempts int, err error) {
	if err := wait(ctx, p.delay); err != nil {
		return 0, err
	}
	for attempts = 1; ; attempts++ {
		next := time.Now().Add(p.period)
		err = p.attempt(ctx, dial, true)
		switch {
		case err == nil:
			return attempts, nil
		case ctx.Err() != nil:
			return attempts, context.Cause(ctx)
		case attempts >= p.threshold:
			return attempts, err
		}
		if err := wait(ctx, time.Until(next)); err != nil {
			return attempts, err
		}
	}
}

// whileAlive probes until the probe has failed as often in a row as it may, or ctx ends.
func (p *probe) whileAlive(ctx context.Context, dial dialer) error {
	if err := wait(ctx, p.delay); err != nil {
		return err
	}
	for failures := 0; ; {
		next := time.Now().Add(p.period)
		err := p.attempt(ctx, dial, false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			failures = 0
		default:
			if failures++; failures >= p.threshold {
				return err
			}
		}
		if err := wait(ctx, time.Until(next)); err != nil {
			return err
		}
	}
}

// attempt probes once. With patience, it waits for a listener as long as the probe's timeout allows: the
// default probe is one attempt of 240 s.
func (p *probe) attempt(ctx context.Context, dial dialer, patient bool) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for pause := firstPoll; ; pause = min(pause*3/2, lastPoll) {
		conn, err := dial(ctx, p.port)
		if err == nil {
			return p.check(ctx, conn)
		}
		if !patient {
			return err
		}
		if wait(ctx, pause) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// check asks what listens at the other end of conn, and closes it.
func (p *probe) check(ctx context.Context, conn net.Conn) error {
	switch p.kind {
	case "HTTP":
		return p.checkHTTP(ctx, conn)
	case "GRPC":
		return p.checkGRPC(ctx, conn)
	}
	return conn.Close()
}

// once hands out a connection to a client that dials by itself.
func once(conn net.Conn) func() (net.Conn, error) {
	conns := make(chan net.Conn, 1)
	conns <- conn
	close(conns)
	return func() (net.Conn, error) {
		if c, ok := <-conns; ok {
			return c, nil
		}
		return nil, net.ErrClosed
	}
}

// checkHTTP is satisfied with what is neither a 4xx nor a 5xx.
func (p *probe) checkHTTP(ctx context.Context, conn net.Conn) error {
	defer conn.Close() //nolint:errcheck // nothing is in flight any more
	take := once(conn)
	t := &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return take() },
		DisableKeepAlives:  true,
		DisableCompression: true,
	}
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+p.path, nil)
	if err != nil {
		return err
	}
	for _, h := range p.headers {
		req.Header.Set(h.GetName(), h.GetValue())
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("status %s", res.Status)
	}
	return nil
}

func (p *probe) checkGRPC(ctx context.Context, conn net.Conn) (err error) {
	defer conn.Close() //nolint:errcheck // nothing is in flight any more
	take := once(conn)
	client, err := grpc.NewClient("passthrough:///127.0.0.1:"+strconv.Itoa(p.port),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return take() }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	res, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: p.service})
	if err != nil {
		return err
	}
	if res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("status %s", res.GetStatus())
	}
	return nil
}

// wait returns after d, or with the reason why ctx ended.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 && ctx.Err() == nil {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
