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
	// ShellPath is the shell for images that have none, mode 0755.
	ShellPath = "/.cloudssh/cloudssh-shell"
	// AppPath is a link to the agent, which runs the original application when it is started by that name.
	AppPath = "/.cloudssh/bin/cloudssh-app"
	// EnvPath is another, which prints the application's environment.
	EnvPath = "/.cloudssh/bin/cloudssh-env"
)

// Binary is a static agent with what it needs beside itself.
type Binary struct {
	Bytes   []byte
	Shell   []byte // the shell for images that have none; empty: the layer holds none
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

// archive is the layer as a tar: no times and no owners but root. Directories are open to all, since the image's user
// need not be root.
func archive(agent Binary) ([]byte, error) {
	const dir, exe = 0o755, 0o755
	entries := []entry{
		{kind: tar.TypeDir, name: "/.cloudssh/", mode: dir},
		{kind: tar.TypeDir, name: "/.cloudssh/bin/", mode: dir},
		{kind: tar.TypeSymlink, name: AppPath, link: "../cloudssh-agent", mode: 0o777},
		{kind: tar.TypeSymlink, name: EnvPath, link: "../cloudssh-agent", mode: 0o777},
		{kind: tar.TypeReg, name: AgentPath, mode: exe, body: agent.Bytes},
	}
	if len(agent.Shell) > 0 {
		entries = append(entries, entry{kind: tar.TypeReg, name: ShellPath, mode: exe, body: agent.Shell})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// entry is one file of the layer.
type entry struct {
	kind       byte
	name, link string
	mode       int64
	body       []byte
}

func (e entry) write(w *tar.Writer) error {
	err := w.WriteHeader(&tar.Header{
		Format: tar.FormatUSTAR, Typeflag: e.kind, Name: strings.TrimPrefix(e.name, "/"), Linkname: e.link,
		Mode: e.mode, Size: int64(len(e.body)),
	})
	if err == nil {
		_, err = w.Write(e.body)
	}
	return err
}

// Tag is the tag of Agent(base, agent), where base is the digest of the image for linux/amd64. It names what went in,
// so that the same image is found again and its purpose is plain to whoever lists the repository.
func Tag(agent Binary, base v1.Hash) string {
	const maxVersion = 64 // a tag has 128 characters
	content := sha256.New()
	content.Write(agent.Bytes)
	content.Write(agent.Shell)
	sum := content.Sum(nil)
	version := strings.Map(tagRune, agent.Version)
	if len(version) > maxVersion {
		version = version[:maxVersion]
	}
	return fmt.Sprintf("cloudssh-%s-%s-%s", version, hex.EncodeToString(sum)[:8], short(base.Hex, 12))
}

func tagRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
		return r
	}
	return '-'
}

func short(s string, n int) string { return s[:min(n, len(s))] }
