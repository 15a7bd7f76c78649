package emulator

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
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
}

// New starts an emulator. When it returns, the emulator answers on all its addresses and what a killed predecessor
// left in the state directory is gone. ctx only bounds the start; Close ends the Server.
func New(ctx context.Context, o Options) (*Server, error) { panic("not yet") }

// Exports are the shell lines that point a client at this emulator: `export RUN_EMULATOR_HOST=127.0.0.1:8085`, ...
func (s *Server) Exports() []string { panic("not yet") }

// Push writes an image to the emulator's registry under a repository name ("demo/hello") and tag "latest", and returns
// the reference a service can name.
func (s *Server) Push(ctx context.Context, repo string, img v1.Image) (ref string, err error) { panic("not yet") }

// Close stops all services and listeners, and removes every container, mount and network namespace. It is idempotent.
func (s *Server) Close(ctx context.Context) error { panic("not yet") }
