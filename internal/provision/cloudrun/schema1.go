package cloudrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// errNoLayer: the image's format has no place for one more layer.
var errNoLayer = errors.New("no layer can be added to it")

// readSchema1 reads the config of an image in the format Docker schema 1, which Cloud Run runs (container contract), but
// which nothing writes any more; nil for an image in another format, or for another processor.
func (b *Backend) readSchema1(ctx context.Context, ref name.Reference) (*v1.ConfigFile, error) {
	desc, err := remote.Get(ref, b.remote(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", ref, err)
	}
	if desc.MediaType != types.DockerManifestSchema1 && desc.MediaType != types.DockerManifestSchema1Signed {
		return nil, nil
	}
	config, err := schema1Config(desc.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading image config of %s: %w", ref, err)
	}
	if config.Architecture != "" && config.Architecture != arch {
		return nil, nil
	}
	return config, nil
}

// schema1Config is the config in a manifest of schema 1: that of the newest of its layers, which comes first, as JSON in a
// string (https://distribution.github.io/distribution/spec/deprecated-schema-v1/).
func schema1Config(manifest []byte) (*v1.ConfigFile, error) {
	var m struct {
		Architecture string `json:"architecture"`
		History      []struct {
			V1Compatibility string `json:"v1Compatibility"`
		} `json:"history"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, err
	}
	if len(m.History) == 0 {
		return nil, errors.New("the manifest has no history")
	}
	config := &v1.ConfigFile{Architecture: m.Architecture}
	if err := json.Unmarshal([]byte(m.History[0].V1Compatibility), config); err != nil {
		return nil, err
	}
	return config, nil
}
