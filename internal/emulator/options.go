package emulator

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// Options configure a Server. The zero value is a working emulator on free ports of the loopback interface with
// whatever container runtime the machine has.
type Options struct {
	// Listen is the TCP address of the Admin API and of the services' ingress; port 0, and the empty string, take a
	// free port of 127.0.0.1.
	Listen string
	// MetadataListen and RegistryListen are the addresses of the metadata server and of the OCI registry. Empty means
	// the two ports after Listen's, when that names a port and they are free, else free ports.
	MetadataListen, RegistryListen string

	// RuntimeKind chooses where containers run: "auto" (the default), "runc", "crun", "runsc", "docker" or
	// "inprocess".
	RuntimeKind string
	// Runtime is used instead of one made from RuntimeKind. The caller closes it.
	Runtime runtime.Runtime
	// Programs are what the "inprocess" runtime runs, by argv[0].
	Programs map[string]runtime.Program

	// StateDir holds unpacked images, the registry's blobs and the runtime's own state. Empty means
	// $XDG_CACHE_HOME/cloudssh-emulator, else os.TempDir()/cloudssh-emulator-<uid>. Several emulators may use one: they
	// share the unpacked images and each locks a slot of its own for the rest.
	StateDir string
	// MemoryRegistry keeps the registry's blobs in memory, so that they do not outlive the Server.
	MemoryRegistry bool

	// Project and Region are the defaults that Exports prints ("cloudssh-demo", "us-central1"). Requests may name
	// any project, and any region of Regions.
	Project, Region string
	// Regions are the regions that exist. Empty means the regions of Cloud Run; Region always is one.
	Regions []string
	// Account is the e-mail address of the client's identity, the one the metadata server hands out tokens for.
	// Empty means developer@<Project>.iam.gserviceaccount.com. It owns Project.
	Account string

	// Secret reads a version ("latest", "3") of a secret, named as in the service: a short name or projects/P/secrets/S.
	// Nil means that there are no secrets. An error that is fs.ErrNotExist is a missing secret, any other a denied one.
	// It is asked only when the service account of the revision has secretmanager.versions.access in the secret's
	// project: Server.Grant(account, "roles/secretmanager.secretAccessor").
	Secret func(ctx context.Context, name, version string) ([]byte, error)
	// Policies are the list policies of the organisation, in effect in every project: the values that a constraint
	// allows, by its name without "constraints/" ("run.allowedIngress": "internal"). What is not there allows all.
	Policies map[string][]string
	// DisabledAPIs are the APIs, such as "secretmanager.googleapis.com", that no project has enabled.
	DisabledAPIs []string
	// Missing are resources that services may name and that are gone, or that Cloud Run may not use: the full names
	// of VPC connectors (projects/P/locations/R/connectors/C), the names of networks and subnetworks as a service
	// names them, and the full names of encryption keys. All others exist.
	Missing []string

	// ReadOnlyRoot mounts the root file system of every container read-only, so that tests see what fails then. The
	// platform has no such setting: there the root is always writable. Volumes stay as they are.
	ReadOnlyRoot bool
	// IdleTimeout is how long an instance without requests is kept; 0 means the platform's 15 minutes.
	IdleTimeout time.Duration
	// RequestTimeoutCap shortens every request timeout to at most this, so that a test need not wait an hour to see
	// a WebSocket cut; 0 means the platform's 3600 s.
	RequestTimeoutCap time.Duration
	// Logger receives what the emulator does; nil discards it.
	Logger *slog.Logger

	Faults
}

// Faults make the emulator misbehave as the platform sometimes does. Every one is optional and may be called from
// several goroutines at once.
type Faults struct {
	// BeforeReady is called with the short name of a revision whose instance has passed its startup probe, before
	// the revision becomes Ready. It may block to hold the revision there (ctx ends when the revision is deleted or
	// the Server closes); an error fails the revision with that text.
	BeforeReady func(ctx context.Context, revision string) error
	// DropAfter is called for each ingress request; a positive result is the number of bytes, both directions
	// together, after which the client's connection is cut without a word.
	DropAfter func(r *http.Request) int64
	// FrontEnd sees each ingress request before the emulator does; true means that it has answered. A fresh run.app
	// URL answers 404, 403 or 503 for a few seconds: this is how to have that.
	FrontEnd func(w http.ResponseWriter, r *http.Request) bool
	// AdminError is called with the method ("CreateService", "DeleteService", "ListServicesV1", ...) and the resource
	// of each Admin API request; an error, best a gRPC status, is the answer.
	AdminError func(method, resource string) error
	// DenyIAM takes a permission ("run.services.create") away from a principal, the unauthenticated owner ("")
	// included.
	DenyIAM func(principal, permission, resource string) bool
	// Unattested tells which images, by their reference in the service, Binary Authorization does not let run. It is
	// asked only about services with a binary_authorization.
	Unattested func(image string) bool
	// DenyPush and DenyPull refuse uploads to and downloads from a repository of the registry ("demo/hello") with
	// 403 DENIED, as Artifact Registry does. The emulator's own pulls for a new revision count as downloads.
	DenyPush, DenyPull func(repo string) bool
}
