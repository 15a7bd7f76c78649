package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
	"github.com/cloudssh/cloudssh/internal/emulator/serving"
)

// Server is a running emulator.
type Server struct {
	// Addr, MetadataAddr and RegistryAddr are the host:port of the Admin API and ingress, of the metadata server and
	// of the OCI registry.
	Addr, MetadataAddr, RegistryAddr string
	// Project and Region are the defaults of this emulator.
	Project, Region string
	// Runtime names what runs the containers: "runc", "crun", "runsc", "docker" or "inprocess".
	Runtime string

	issuer    *identity.Issuer
	store     *store
	transport *http.Transport
	requests  sync.RWMutex // held for reading by every request on any of the listeners
	closers   []func(context.Context) error
	closing   sync.Once
	closeErr  error
}

// New starts an emulator. When it returns, the emulator answers on all its addresses and what a killed predecessor
// left in the state directory is gone. ctx only bounds the start; Close ends the Server. When no container runtime can be
// used the error has Hints() []string on how to get one.
func New(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{Project: o.Project, Region: o.Region}
	if err := s.start(ctx, o); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
		defer cancel()
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Project == "" {
		o.Project = "cloudssh-demo"
	}
	if o.Region == "" {
		o.Region = "us-central1"
	}
	if len(o.Regions) == 0 {
		o.Regions = cloudRunRegions()
	}
	if !slices.Contains(o.Regions, o.Region) {
		o.Regions = append(slices.Clone(o.Regions), o.Region)
	}
	if o.Account == "" {
		o.Account = "developer@" + o.Project + ".iam.gserviceaccount.com"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// start makes the parts from the bottom up; each that must be undone says so with onClose before the next is made.
func (s *Server) start(ctx context.Context, o Options) error {
	state, err := openState(o.StateDir)
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return state.release() })
	rt, err := s.startRuntime(ctx, o, state)
	if err != nil {
		return err
	}
	s.Runtime = rt.Name()
	if s.issuer, err = identity.NewIssuer(nil); err != nil {
		return fmt.Errorf("making the keys of the tokens: %w", err)
	}
	listeners, err := s.listen(ctx, o)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("reading the address of the listener: %w", err)
	}
	s.onClose(s.drain)
	s.store = newStore(port, time.Now)
	s.Grant(o.Account, "roles/owner")
	a, err := s.startAdmin(o, rt, state)
	if err != nil {
		return err
	}
	blobs := ""
	if !o.MemoryRegistry {
		blobs = filepath.Join(state.slot, "blobs")
		if err := os.MkdirAll(blobs, 0o700); err != nil {
			return fmt.Errorf("making the registry's directory: %w", err)
		}
	}
	s.serve(listeners.api, s.front(a, o), o.Logger)
	s.serve(listeners.metadata, underOwnHost(s.MetadataAddr, s.clientMetadata(o)), o.Logger)
	s.serve(listeners.registry, underOwnHost(s.RegistryAddr, notFromPages(newRegistry(blobs, o.Faults))), o.Logger)
	return nil
}

func (s *Server) startRuntime(ctx context.Context, o Options, state *stateDir) (runtime.Runtime, error) {
	rt := o.Runtime
	if rt == nil {
		made, err := runtime.New(ctx, runtime.Options{Kind: o.RuntimeKind, StateDir: state.dir, Logger: o.Logger, Programs: o.Programs})
		if err != nil {
			return nil, fmt.Errorf("choosing a container runtime: %w", err)
		}
		s.onClose(func(context.Context) error { return made.Close() })
		rt = made
	}
	if err := rt.Reap(ctx); err != nil {
		return nil, fmt.Errorf("removing what an earlier emulator left: %w", err)
	}
	return rt, nil
}

// startAdmin makes what runs services. Its clean-up ends deployments before it ends the fleet.
func (s *Server) startAdmin(o Options, rt runtime.Runtime, state *stateDir) (*admin, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s.transport = http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	images := newImages(ctx, s.transport)
	a := &admin{
		ctx: ctx, store: s.store, images: images, issuer: s.issuer, regions: o.Regions,
		account: o.Account, addr: s.Addr, faults: o.Faults, around: newPlatform(o), disabled: o.DisabledAPIs,
		secrets: o.Secret, logger: o.Logger,
	}
	fleet, err := serving.New(serving.Options{
		Runtime: rt, Pull: images.pull, Secret: a.secret(o.Secret), ReadOnlyRoot: o.ReadOnlyRoot, StateDir: state.slot, Logger: o.Logger,
		API:         withToken(newTranscoder(a)),
		BeforeReady: o.BeforeReady, IdleTimeout: o.IdleTimeout, RequestTimeoutCap: o.RequestTimeoutCap,
		Metadata: func(r serving.Revision, id string) http.Handler {
			return identity.MetadataHandler(identity.MetadataConfig{
				Issuer: s.issuer, Project: r.Project, ProjectNumber: r.ProjectNumber, Region: r.Region,
				InstanceID: id, ServiceAccount: r.Template.GetServiceAccount(),
			})
		},
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("preparing to run services: %w", err)
	}
	a.fleet = fleet
	s.onClose(func(ctx context.Context) error {
		cancel()
		s.store.close()
		err := fleet.Close(ctx)
		a.work.Wait()
		s.transport.CloseIdleConnections()
		return err
	})
	return a, nil
}

func (s *Server) clientMetadata(o Options) http.Handler {
	return identity.MetadataHandler(identity.MetadataConfig{
		Issuer: s.issuer, Project: o.Project, ProjectNumber: projectNumber(o.Project), Region: o.Region,
		InstanceID: projectNumber(o.Project), ServiceAccount: o.Account,
	})
}

// Exports are the shell lines that point a client at this emulator: `export RUN_EMULATOR_HOST=127.0.0.1:8085`, ...
func (s *Server) Exports() []string {
	return []string{
		"export RUN_EMULATOR_HOST=" + s.Addr,
		"export GCE_METADATA_HOST=" + s.MetadataAddr,
		"export CLOUDSDK_CORE_PROJECT=" + s.Project,
		"export CLOUDSDK_RUN_REGION=" + s.Region,
		"export RUN_EMULATOR_REGISTRY=" + s.RegistryAddr,
	}
}

// Grant gives an account a role in the Server's project: "alice@example.com", "roles/run.viewer".
func (s *Server) Grant(email, role string) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.projects[s.Project] = grant(s.store.project(s.Project), role, identity.Member(email))
}

// Issuer makes the tokens and key files that this Server accepts. Its token endpoint is http://Addr/token.
func (s *Server) Issuer() *identity.Issuer { return s.issuer }

// Client returns an HTTP client that reaches this Server's ingress for every host name, so that a service's URL works
// where *.localhost does not resolve. The caller may close its idle connections; Close ends them anyway.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.Addr)
		},
	}}
}

// onClose registers a clean-up; the last registered runs first.
func (s *Server) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// Close stops all services and listeners, and removes every container, mount and network namespace. It is idempotent.
// Instances get SIGTERM and 10 s; when ctx ends sooner they are killed.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Do(func() {
		for _, f := range slices.Backward(s.closers) {
			s.closeErr = errors.Join(s.closeErr, f(ctx))
		}
	})
	return s.closeErr
}
