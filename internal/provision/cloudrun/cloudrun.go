// Package cloudrun makes twins on Google Cloud Run.
package cloudrun

import (
	"context"
	"iter"
	"log/slog"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/api/option"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
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
	// Remote are the options for the image registry: keychain, transport.
	Remote []remote.Option
	// Agent returns the agent for a processor architecture (GOARCH).
	Agent func(ctx context.Context, arch string) (inject.Binary, error)
	// Logs, when not nil, returns the last log lines behind a revision's log_uri, oldest first; none when it cannot read
	// that kind of address.
	Logs func(ctx context.Context, logURI string) ([]string, error)
	// Logger may be nil.
	Logger *slog.Logger
}

// Backend makes twins on Cloud Run. It is safe for concurrent use.
type Backend struct{}

var _ provision.Backend = (*Backend)(nil)

// New connects to Cloud Run.
func New(ctx context.Context, o Options) (*Backend, error) { panic("not yet") }

// Close ends the connections.
func (b *Backend) Close() error { panic("not yet") }

// Services implements provision.Backend. With Options.Region set only that region's are listed; twins never are.
func (b *Backend) Services(ctx context.Context) iter.Seq2[provision.Service, error] { panic("not yet") }

// Create implements provision.Backend.
func (b *Backend) Create(ctx context.Context, req provision.Request, p provision.Progress) (*provision.Twin, error) {
	panic("not yet")
}

// Delete implements provision.Backend.
func (b *Backend) Delete(ctx context.Context, t provision.Twin) error { panic("not yet") }

// Twins implements provision.Backend: all twins of the project in all regions.
func (b *Backend) Twins(ctx context.Context) iter.Seq2[provision.Twin, error] { panic("not yet") }
