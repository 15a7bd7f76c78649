// Package inject puts the agent into a container image: image in, image with one more layer out. The functions that
// return images are pure; only Resolve talks to a registry.
package inject

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Where the layer puts things.
const (
	// AgentPath is the agent's binary, mode 0755.
	AgentPath = "/.cloudssh/cloudssh-agent"
	// AppPath is a link to it; the agent started by that name runs the original application.
	AppPath = "/.cloudssh/bin/cloudssh-app"
)

// Binary is a static agent.
type Binary struct {
	Bytes   []byte
	Version string
}

// Agent returns base with one layer more that holds the agent.
func Agent(base v1.Image, agent Binary) (v1.Image, error) { panic("not yet") }

// Tag is the tag of Agent(base, agent).
func Tag(agent Binary, base v1.Hash) string { panic("not yet") }

// Resolve reads an image for linux/amd64 from its registry.
func Resolve(ctx context.Context, ref name.Reference, opts ...remote.Option) (v1.Image, error) {
	panic("not yet")
}

// App is how an image's own program is started.
type App struct {
	Entrypoint, Args []string
	Dir, User        string
	Env              []string
}

// AppOf says how Cloud Run would start the program of an image for a container with this command, args and workdir.
func AppOf(cfg *v1.ConfigFile, command, args []string, workdir string) App { panic("not yet") }
