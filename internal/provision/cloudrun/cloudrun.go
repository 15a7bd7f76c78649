// Package cloudrun makes twins on Google Cloud Run. Derive is the pure part, from a service to its twin; the Backend
// reads the one, or makes it of a job or a worker pool, brings the agent in, creates the other and takes it down.
package cloudrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/api/option"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	defaultRESTURL = "https://run.googleapis.com"
	// arch is the only processor architecture of Cloud Run (container contract), as a GOARCH.
	arch = "amd64"
)

// Options configure a Backend.
type Options struct {
	// Project is the project's id. Region may be empty: services are then looked for in all regions.
	Project, Region string
	// Account is the identity whose twins are "mine".
	Account string
	// ClientOptions are for the gRPC clients of the Admin API v2: endpoint and credentials.
	ClientOptions []option.ClientOption
	// REST sends requests to the Admin API v1, the only one that lists across regions, and adds their credentials;
	// nil means http.DefaultClient. RESTURL is its base, "https://run.googleapis.com" when empty.
	REST    *http.Client
	RESTURL string
	// API returns the base URL of another Google API by the first word of its host; nil means https://NAME.googleapis.com.
	API func(name string) string
	// Remote are the options for the image registry: transport, and the keychain that Keychain is too, which is for
	// requests that they do not cover; nil means authn.DefaultKeychain.
	Remote   []remote.Option
	Keychain authn.Keychain
	// Agent returns the agent for a processor architecture (GOARCH).
	Agent func(ctx context.Context, arch string) (inject.Binary, error)
	// AgentImage is the reference of the image that a sidecar copies the agent from, when a request names none.
	AgentImage string
	// Logs, when not nil, returns the last log lines behind a revision's log_uri, oldest first; none when it cannot read
	// that kind of address.
	Logs func(ctx context.Context, logURI string) ([]string, error)
	// Logger may be nil.
	Logger *slog.Logger
}

// Backend makes twins on Cloud Run. It is safe for concurrent use.
type Backend struct {
	Options
	services  *run.ServicesClient
	revisions *run.RevisionsClient
	jobs      *run.JobsClient
	pools     *run.WorkerPoolsClient
	// pollFirst and pollMost are the pauses between two looks at an operation: the first, and the longest.
	pollFirst, pollMost time.Duration
}

var _ provision.Backend = (*Backend)(nil)

// New makes the clients of Cloud Run's API. It does not call it.
func New(ctx context.Context, o Options) (*Backend, error) {
	if o.Project == "" {
		return nil, provision.Hint(errors.New("no project"),
			"cloudssh --project PROJECT ...", "gcloud config set project PROJECT")
	}
	o.REST = cmp.Or(o.REST, http.DefaultClient)
	o.RESTURL = strings.TrimSuffix(cmp.Or(o.RESTURL, defaultRESTURL), "/")
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	b := &Backend{Options: o, pollFirst: 50 * time.Millisecond, pollMost: time.Second}
	if err := b.connect(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to Cloud Run: %w", err), b.Close())
	}
	return b, nil
}

func (b *Backend) connect(ctx context.Context) (err error) {
	if b.services, err = run.NewServicesClient(ctx, b.ClientOptions...); err != nil {
		return err
	}
	if b.revisions, err = run.NewRevisionsClient(ctx, b.ClientOptions...); err != nil {
		return err
	}
	if b.jobs, err = run.NewJobsClient(ctx, b.ClientOptions...); err != nil {
		return err
	}
	b.pools, err = run.NewWorkerPoolsClient(ctx, b.ClientOptions...)
	return err
}

// Close ends the connections.
func (b *Backend) Close() error {
	var errs []error
	if b.services != nil {
		errs = append(errs, b.services.Close())
	}
	if b.revisions != nil {
		errs = append(errs, b.revisions.Close())
	}
	if b.jobs != nil {
		errs = append(errs, b.jobs.Close())
	}
	if b.pools != nil {
		errs = append(errs, b.pools.Close())
	}
	return errors.Join(errs...)
}

func (b *Backend) parent(region string) string {
	return fmt.Sprintf("projects/%s/locations/%s", b.Project, region)
}

func (b *Backend) resource(region, service string) string {
	return b.parent(region) + "/services/" + service
}

// regionOf is the region in the name of a resource, projects/P/locations/REGION/...
func regionOf(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) < 4 {
		return ""
	}
	return parts[3]
}

// twinOf describes a service as a twin. ok is false when it is none.
func (b *Backend) twinOf(svc *runpb.Service) (t provision.Twin, ok bool) {
	source, lease, ok := provision.ParseLease(svc.GetLabels(), svc.GetAnnotations())
	return provision.Twin{
		Name: lastSegment(svc.GetName()), Source: source, Project: b.Project, Region: regionOf(svc.GetName()),
		URL: svc.GetUri(), URLs: svc.GetUrls(), UID: svc.GetUid(), Shape: shapeOf(svc), Lease: lease,
		Created: svc.GetCreateTime().AsTime(), Ready: ready(svc), Mine: b.mine(lease),
	}, ok
}

func (b *Backend) mine(l provision.Lease) bool { return l.OwnerHash == provision.OwnerHash(b.Account) }

// pauses returns a function that waits a little longer each time, or until ctx ends.
func (b *Backend) pauses() func(context.Context) error {
	next := b.pollFirst
	return func(ctx context.Context) error {
		timer := time.NewTimer(next)
		defer timer.Stop()
		next = min(next*5/4, b.pollMost)
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
