package images

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
)

// AgentRepository is where releases are published: the sidecar's image is
// AgentRepository:VERSION unless the user names another.
const AgentRepository = "docker.io/cloudssh/cloudssh-agent"

// Carried returns both programs that a twin gets, as Program does.
func Carried(ctx context.Context, arch, version string) (agent, shell []byte, err error) {
	if root, ok := sourceRoot(); ok { // at once: most of the work is finding out that there is none
		programs, err := build(ctx, root, arch, version, Agent, Shell)
		if err != nil {
			return nil, nil, err
		}
		return programs[0], programs[1], nil
	}
	if agent, err = Program(ctx, Agent, arch, version); err != nil {
		return nil, nil, err
	}
	shell, err = Program(ctx, Shell, arch, version)
	return agent, shell, err
}

// AgentImage returns the image of the sidecar that brings the agent into a
// service whose image cannot be changed: agent and shell, and no more. The same
// sources give the same bytes.
//
// It runs as root: the volume that it fills belongs to whoever the platform
// lets it, and Cloud Run documents neither owner nor mode. What it writes can be
// read by every user.
func AgentImage(ctx context.Context, arch, version string) (v1.Image, error) {
	agent, shell, err := Carried(ctx, arch, version)
	if err != nil {
		return nil, err
	}
	return agentImage(agent, shell, arch, version)
}

func agentImage(agent, shell []byte, arch, version string) (v1.Image, error) {
	img, err := addFiles(empty.Image, []file{{name: Agent, mode: 0o755, body: agent}, {name: Shell, mode: 0o755, body: shell}})
	if err != nil {
		return nil, err
	}
	return configure(img, arch, v1.Config{
		Entrypoint: []string{"/" + Agent},
		User:       "0:0",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "cloudssh-agent",
			"org.opencontainers.image.description": fmt.Sprintf("brings the agent of cloudssh %s into twins", version),
			"org.opencontainers.image.version":     version,
		},
	})
}
