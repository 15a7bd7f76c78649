package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
)

// logsPath is where a revision's log is, followed by the revision's name.
const logsPath = "/emulator/v1/logs/"

type listeners struct{ api, metadata, registry net.Listener }

// listen opens the three listeners.
func (s *Server) listen(ctx context.Context, o Options) (l listeners, err error) {
	if l.api, err = s.listenOn(ctx, o.Listen); err != nil {
		return l, err
	}
	s.Addr = l.api.Addr().String()
	if l.metadata, err = s.listenNear(ctx, o, o.MetadataListen, 1); err != nil {
		return l, err
	}
	s.MetadataAddr = l.metadata.Addr().String()
	if l.registry, err = s.listenNear(ctx, o, o.RegistryListen, 2); err != nil {
		return l, err
	}
	s.RegistryAddr = l.registry.Addr().String()
	return l, nil
}

func (s *Server) listenOn(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	s.onClose(func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return l, nil
}

// listenNear listens on the given address or, without one, so many ports after the main listener's, or on a free port.
func (s *Server) listenNear(ctx context.Context, o Options, given string, offset int) (net.Listener, error) {
	if given != "" {
		return s.listenOn(ctx, given)
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("reading the address %s: %w", o.Listen, err)
	}
	if n, err := strconv.Atoi(port); err == nil && n > 0 && n+offset < 1<<16 {
		l, err := s.listenOn(ctx, net.JoinHostPort(host, strconv.Itoa(n+offset)))
		if err == nil {
			return l, nil
		}
		o.Logger.InfoContext(ctx, "taking another port", "error", err)
	}
	return s.listenOn(ctx, net.JoinHostPort(host, "0"))
}

// serve serves a listener until Close.
func (s *Server) serve(l net.Listener, h http.Handler, logger *slog.Logger) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.requests.RLock()
			defer s.requests.RUnlock()
			h.ServeHTTP(w, r)
		}),
		Protocols: &protocols, ConnContext: rememberConn, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(meteredListener{l}); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("serving", "address", l.Addr(), "error", err)
		}
	}()
	s.onClose(func(context.Context) error {
		err := server.Close()
		<-ended
		return err
	})
}

// drain waits for the requests that are still being served: when the servers are closed and no instance runs any more,
// they all end, WebSockets too.
func (s *Server) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.requests.Lock()
		defer s.requests.Unlock()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for requests to end: %w", ctx.Err())
	}
}

// front is the main listener's handler: ingress by Host, else gRPC, else REST and the rest.
func (s *Server) front(a *admin, o Options) http.Handler {
	in := &ingress{store: s.store, fleet: a.fleet, issuer: s.issuer, faults: o.Faults, logger: o.Logger}
	rpc := grpc.NewServer(grpc.UnaryInterceptor(a.intercept))
	a.register(rpc)
	s.onClose(func(context.Context) error { rpc.Stop(); return nil })
	rest := s.api(a, newTranscoder(a))
	api := underOwnHost(s.Addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			rpc.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	}), o.Regions...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		if _, rest := regionOfHost(host, o.Regions); strings.HasSuffix(host, ingressDomain) && rest != apiHost {
			in.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// newTranscoder is the Admin API over REST, v2 and v1.
func newTranscoder(a *admin) *transcoder {
	rest := &transcoder{mux: http.NewServeMux(), custom: http.NewServeMux(), rules: v1Rules(runRules()), intercept: a.intercept}
	a.register(rest)
	a.registerV1(rest.mux)
	a.registerExport(rest.custom)
	a.registerProject(rest.custom)
	return rest
}

// withToken keeps out requests without credentials. Elsewhere they are the owner's, since who can connect owns the
// emulator; in an instance that would be whatever runs there.
func withToken(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(authorization) == "" {
			writeError(w, unauthenticated())
			return
		}
		h.ServeHTTP(w, r)
	})
}

// api serves everything that is neither ingress nor gRPC.
func (s *Server) api(a *admin, rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/token", s.issuer.TokenHandler())
	mux.Handle("/oauth2/v3/certs", s.issuer.JWKS())
	credentials := s.issuer.CredentialsHandler(func(who, permission, account string) bool {
		return a.permitted(caller{email: who}, permission, "projects/-/serviceAccounts/"+account, resource{location{project: s.Project}, account})
	})
	mux.HandleFunc("/v1/projects/-/serviceAccounts/", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, ":generate") {
			credentials.ServeHTTP(w, r)
			return
		}
		notFromPages(rest).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET "+logsPath, a.serveLogs)
	mux.Handle("/", notFromPages(rest))
	return mux
}

// notFromPages keeps out web pages of other origins: API and registry take requests without credentials, and what they
// get to run runs on the developer's machine.
func notFromPages(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		if r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin" {
			writeError(w, identity.PermissionDenied("emulator.requests.fromBrowser", r.URL.Path))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// underOwnHost keeps out requests under a name that an attacker's DNS has point here: to a browser they are of the
// attacker's own origin. An address that is not a loopback one may have any name. Before apiHost one of the regions may stand.
func underOwnHost(address string, h http.Handler, regions ...string) http.Handler {
	if !loopback(hostname(address)) {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		if _, rest := regionOfHost(host, regions); !ownHost(host) && rest != apiHost {
			http.Error(w, "host "+strconv.Quote(host)+" is not served here", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// apiHost is a name for the Admin API that means the loopback interface, as all below ingressDomain do, with a region
// before it too: gcloud prefixes the host of the endpoint that it is given with "REGION-".
const apiHost = "run" + ingressDomain

// regionOfHost splits a regional endpoint's host, us-central1-run.googleapis.com, in region and rest. The region is empty
// when the host starts with none.
func regionOfHost(host string, regions []string) (region, rest string) {
	for _, r := range regions {
		if rest, ok := strings.CutPrefix(host, r+"-"); ok {
			return r, rest
		}
	}
	return "", host
}

// ownHost tells whether a Host header can be meant for this server: an address, the local host, or a name of Google's.
func ownHost(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost" || host == apiHost || host == "metadata.google.internal" || strings.HasSuffix(host, ".googleapis.com")
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}
