package serving

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// Options configure a Fleet. Runtime, Pull and StateDir are required.
type Options struct {
	// Runtime runs the containers. The caller closes it after the Fleet.
	Runtime runtime.Runtime
	// Pull reads an image, a manifest list resolved to linux/amd64. Registry errors (*transport.Error of
	// go-containerregistry, possibly wrapped) become the platform's condition reasons.
	Pull func(ctx context.Context, ref string) (v1.Image, error)
	// Secret reads a version ("latest", "3") of a secret, named as in the service: a short name or a
	// projects/P/secrets/S. Nil means that there are no secrets. An error that is fs.ErrNotExist is a missing secret,
	// any other a denied one.
	Secret func(ctx context.Context, name, version string) ([]byte, error)
	// Metadata is the metadata server that an instance sees at 169.254.169.254; nil: it sees none.
	Metadata func(rev Revision, instanceID string) http.Handler
	// StateDir is where the files of volumes live, in a directory "volumes" of the Fleet's own: what is in it
	// is removed by New and by Close.
	StateDir string

	// BeforeReady is called between an instance's passing its startup probes and the revision's becoming Ready; an
	// error fails the revision. Nil does nothing.
	BeforeReady func(ctx context.Context, revision string) error
	// IdleTimeout is how long an instance without requests is kept; 0 means 15 minutes.
	IdleTimeout time.Duration
	// RequestTimeoutCap shortens every request timeout to at most this; 0 means 3600 s.
	RequestTimeoutCap time.Duration
	// LogBytes is how much log text is kept per revision; 0 means 4 MiB.
	LogBytes int
	// Logger receives what goes wrong without a caller to tell; nil discards.
	Logger *slog.Logger
}

// A Key names a revision: projects/Project/locations/Region/services/Service/revisions/Name.
type Key struct{ Project, Region, Service, Name string }

func (k Key) String() string {
	return "projects/" + k.Project + "/locations/" + k.Region + "/services/" + k.Service + "/revisions/" + k.Name
}

// A Revision is what Deploy deploys.
type Revision struct {
	Project       string // the project's id
	ProjectNumber string
	Region        string
	Service       string // short names
	Name          string
	// Template is the revision's. It is not changed and must not be changed any more.
	Template *runpb.RevisionTemplate
	// MinInstances and MaxInstances are the service's share for this revision; what the Template says counts where
	// they are 0, and where both are set the greater minimum and the smaller maximum.
	MinInstances, MaxInstances int
	// LogURI is the address under which Logs is served; it stands in messages.
	LogURI string
}

// Key is the name of the revision.
func (r Revision) Key() Key { return Key{r.Project, r.Region, r.Service, r.Name} }

// New returns a Fleet without revisions.
func New(o Options) (*Fleet, error) { return newFleet(o) }

// Deploy pulls the revision's images, starts one instance and returns when it has passed its startup probes: the revision
// is Ready. Its conditions are reported as they change, in order, from the calling goroutine: ContainerReady (the images),
// ResourcesAvailable (the sandbox), ContainerHealthy (the probes), Active and, first and last, Ready.
//
// The error is a [*DeployError], unless ctx ended or the revision was removed meanwhile. After an error the revision has
// no instance and answers 503; its logs stay. Either way it is there until Remove.
func (f *Fleet) Deploy(ctx context.Context, rev Revision, report func(*runpb.Condition)) error {
	return f.deploy(ctx, rev, report)
}

// Handler serves requests to a revision, be it deployed already or not: each request looks it up. It waits for an
// instance, starts one if need be, applies the request timeout and answers as Cloud Run's front end when there is none: 429
// when all instances stay busy for 30 s, 503 when an instance does not start or breaks off, 504 at the timeout. Who may
// call is for the ingress before it to decide.
func (f *Fleet) Handler(key Key) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(key, w, r) })
}

// Scale changes the service's share of a revision's scaling, as [Revision] has it. Instances over the new maximum
// take no new requests. It does nothing when there is no such revision.
func (f *Fleet) Scale(key Key, minInstances, maxInstances int) {
	f.scale(key, minInstances, maxInstances)
}

// Remove shuts a revision's instances down, SIGTERM first and SIGKILL after 10 s, and forgets it, all but its logs. Requests
// that wait get 503. A deployment that is under way ends with an error. It does nothing when there is no such revision.
func (f *Fleet) Remove(ctx context.Context, key Key) error { return f.remove(ctx, key) }

// Instances returns the ids of a revision's instances that are started or starting.
func (f *Fleet) Instances(key Key) []string { return f.instances(key) }

// Logs serves the log of a revision as plain text, a line each. With ?follow=1 it goes on until the client leaves. It is
// there from the start of Deploy on and outlives the revision, until 64 more were removed.
func (f *Fleet) Logs(key Key) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serveLogs(key, w, r) })
}

// Tail returns the last n lines of a revision's log, without line ends.
func (f *Fleet) Tail(key Key, n int) []string { return f.tail(key, n) }

// Close removes all revisions as Remove does, all at once, and returns when nothing of them is left: no instance,
// no goroutine, no file. When ctx ends first, instances are killed without grace.
func (f *Fleet) Close(ctx context.Context) error { return f.close(ctx) }
