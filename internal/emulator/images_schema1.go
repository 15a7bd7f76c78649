package emulator

import (
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// schema1Image is an image whose manifest is of Docker's first schema, which Cloud Run still takes
// (https://docs.cloud.google.com/run/docs/container-contract#images) and the registry's library hardly reads: there is no
// configuration, and the digests of the layers' content are for us to compute. For the schema see
// github.com/distribution/distribution, docs/content/spec/deprecated-schema-v1.md.
func schema1Image(desc *remote.Descriptor) (v1.Image, error) {
	var manifest struct {
		History []struct {
			V1Compatibility string `json:"v1Compatibility"`
		} `json:"history"`
	}
	if err := json.Unmarshal(desc.Manifest, &manifest); err != nil {
		return nil, fmt.Errorf("reading a manifest of schema 1: %w", err)
	}
	if len(manifest.History) == 0 {
		return nil, errors.New("reading a manifest of schema 1: it has no history")
	}
	var last v1.ConfigFile // of the top layer: its keys are those of a configuration
	if err := json.Unmarshal([]byte(manifest.History[0].V1Compatibility), &last); err != nil {
		return nil, fmt.Errorf("reading the history of a manifest of schema 1: %w", err)
	}
	listed, err := desc.Schema1()
	if err != nil {
		return nil, err
	}
	layers, err := listed.Layers()
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = last.OS, last.Architecture, last.Config
	return mutate.ConfigFile(img, config)
}

func isSchema1(t types.MediaType) bool {
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}
