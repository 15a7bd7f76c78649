package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrUnsupported is wrapped by Resolve's error for an image that is there but that Cloud Run could not run: of a format
// or for a platform it does not know.
var ErrUnsupported = errors.New("unsupported image")

// Resolve reads an image from its registry; of a manifest list, the one for linux/amd64, which is the only platform of
// Cloud Run (container contract). The image stays bound to ctx.
func Resolve(ctx context.Context, ref name.Reference, opts ...remote.Option) (v1.Image, error) {
	opts = append(slices.Clone(opts), remote.WithContext(ctx), remote.WithPlatform(platform()))
	desc, err := remote.Get(ref, opts...)
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", ref, err)
	}
	switch desc.MediaType {
	case types.DockerManifestSchema1, types.DockerManifestSchema1Signed:
		return nil, fmt.Errorf("%w: %s is in the outdated format Docker schema 1; pull it and push it again with a current tool",
			ErrUnsupported, ref)
	case types.OCIImageIndex, types.DockerManifestList:
		if err := checkIndex(desc); err != nil {
			return nil, err
		}
	}
	img, err := desc.Image()
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", ref, err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading image config of %s: %w", ref, err)
	}
	if p := (v1.Platform{OS: cfg.OS, Architecture: cfg.Architecture}); !runs(p) {
		return nil, fmt.Errorf("%w: %s is for %s; Cloud Run runs %s", ErrUnsupported, ref, p, platform())
	}
	return img, nil
}

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: "amd64"} }

// runs takes an image that does not say for what we hope it is, as Cloud Run does.
func runs(p v1.Platform) bool {
	return (p.OS == "" || p.OS == "linux") && (p.Architecture == "" || p.Architecture == "amd64")
}

func checkIndex(desc *remote.Descriptor) error {
	index, err := desc.ImageIndex()
	if err != nil {
		return fmt.Errorf("reading image %s: %w", desc.Digest, err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("reading image %s: %w", desc.Digest, err)
	}
	var there []string
	for _, child := range m.Manifests {
		if child.Platform == nil || runs(*child.Platform) {
			return nil
		}
		// BuildKit lists attestations beside the images as platform unknown/unknown.
		if p := child.Platform.String(); child.Platform.OS != "unknown" && !slices.Contains(there, p) {
			there = append(there, p)
		}
	}
	if len(there) == 0 {
		return fmt.Errorf("%w: the manifest list %s names no image", ErrUnsupported, desc.Digest)
	}
	return fmt.Errorf("%w: the manifest list %s has no image for %s, only for %s",
		ErrUnsupported, desc.Digest, platform(), strings.Join(there, ", "))
}
