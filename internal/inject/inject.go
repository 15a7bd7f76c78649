// Package inject puts the agent into a container image: image in, image with one more layer out. The functions that
// return images are pure; only Resolve talks to a registry, and the caller writes the result.
package inject

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
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

// Agent returns base with one layer more that holds the agent. The same base and agent give the same bytes, so the
// result's digest tells whether a registry has it already. Entrypoint, user and all else of the image's config stay as
// they are: what starts is the service's business.
func Agent(base v1.Image, agent Binary) (v1.Image, error) {
	layerType, err := layerTypeFor(base)
	if err != nil {
		return nil, err
	}
	l, err := newLayer(agent, layerType)
	if err != nil {
		return nil, fmt.Errorf("packing the agent: %w", err)
	}
	return mutate.Append(base, mutate.Addendum{
		Layer:   l,
		History: v1.History{CreatedBy: "cloudssh " + agent.Version, Comment: "adds " + AgentPath},
	})
}

// layerTypeFor keeps Docker images Docker and OCI images OCI; registries refuse a mixture.
func layerTypeFor(base v1.Image) (types.MediaType, error) {
	m, err := base.Manifest()
	if err != nil {
		return "", fmt.Errorf("reading the image's manifest: %w", err)
	}
	if c := m.Config.MediaType; c != types.DockerConfigJSON && c != types.OCIConfigJSON {
		return "", fmt.Errorf("not a container image: its config is of type %q", c)
	}
	mt, err := base.MediaType()
	if err != nil {
		return "", fmt.Errorf("reading the image's media type: %w", err)
	}
	if mt == types.OCIManifestSchema1 {
		return types.OCILayer, nil
	}
	return types.DockerLayer, nil
}

// archive is the layer as a tar: names sorted, no times and no owners but root. Directories are open to all, since the
// image's user need not be root.
func archive(agent Binary) ([]byte, error) {
	const dir, exe = 0o755, 0o755
	entries := []tar.Header{
		{Typeflag: tar.TypeDir, Name: ".cloudssh/", Mode: dir},
		{Typeflag: tar.TypeDir, Name: ".cloudssh/bin/", Mode: dir},
		{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(AppPath, "/"), Linkname: "../cloudssh-agent", Mode: 0o777},
		{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(AgentPath, "/"), Mode: exe, Size: int64(len(agent.Bytes))},
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range entries {
		entries[i].Format = tar.FormatUSTAR
		if err := w.WriteHeader(&entries[i]); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(agent.Bytes); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Tag is the tag of Agent(base, agent), where base is the digest of the image for linux/amd64. It names what went in,
// so that the same image is found again and its purpose is plain to whoever lists the repository.
func Tag(agent Binary, base v1.Hash) string {
	const maxVersion = 64 // a tag has 128 characters
	sum := sha256.Sum256(agent.Bytes)
	version := strings.Map(tagRune, agent.Version)
	if len(version) > maxVersion {
		version = version[:maxVersion]
	}
	return fmt.Sprintf("cloudssh-%s-%s-%s", version, hex.EncodeToString(sum[:])[:8], short(base.Hex, 12))
}

func tagRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
		return r
	}
	return '-'
}

func short(s string, n int) string { return s[:min(n, len(s))] }
