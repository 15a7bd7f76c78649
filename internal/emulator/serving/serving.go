package serving

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// Options configure a Fleet. Runtime, Pull and StateDir are required.
type Options struct {
	// Runtime runs the containers. The caller closes it after the Fleet.
	Runtime runtime.Runtime
	// Pull reads an image, a manifest list resolved to linux/amd64. Registry errors (*transport.Error of
	// go-containerregistry, possibly wrapped) become the platform's condition reasons.
	Pull func(ctx context.Context, ref string) (v1.Image, error)
	// Secret reads a version ("latest", "3") of a secret for a revision; it is named as in the service: a short name or
	// a projects/P/secrets/S. Nil means that there are no secrets. An error that is fs.ErrNotExist is a missing secret,
	// any other one that the revision's service account may not read.
	Secret func(ctx context.Context, rev Revision, name, version string) ([]byte, error)
	// ReadOnlyRoot mounts the root file system of every container read-only.
	ReadOnlyRoot bool
	// Metadata is the metadata server that an instance sees at 169.254.169.254; nil: it sees none.
	Metadata func(rev Revision, instanceID string) http.Handler
	// API is the Admin API that an instance finds at the address in its environment variable RUN_EMULATOR_HOST: there is
	// no other way out of it. Nil: there is none. The variable is not set where the service sets it itself.
	API http.Handler
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

// A Kind is what a revision belongs to.
type Kind string

// The kinds. Only a service has an ingress container.
const (
	Service    Kind = ""
	WorkerPool Kind = "workerPools" // its instances run without requests
	Job        Kind = "jobs"        // one instance runs to completion, by Run; Service is the job and Name the attempt
)

// A Key names a revision: projects/Project/locations/Region/services/Service/revisions/Name.
type Key struct {
	Project, Region, Service, Name string
	Kind                           Kind
}

func (k Key) String() string {
	parent := "projects/" + k.Project + "/locations/" + k.Region
	switch k.Kind {
	case Job:
		return parent + "/jobs/" + k.Service + "/executions/" + k.Name
	case WorkerPool:
		return parent + "/workerPools/" + k.Service + "/revisions/" + k.Name
	}
	return parent + "/services/" + k.Service + "/revisions/" + k.Name
}

// A Revision is what Deploy deploys, or Run runs.
type Revision struct {
	// Kind says what Service names.
	Kind          Kind
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
	// Env is what the platform sets in every container of a worker pool or job, "NAME=value" each. Containers of a service
	// get PORT and the K_ variables instead.
	Env []string
}

// Key is the name of the revision.
func (r Revision) Key() Key { return Key{r.Project, r.Region, r.Service, r.Name, r.Kind} }
