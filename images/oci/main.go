// Oci writes the agent's image, for every architecture asked for, as an OCI
// image layout, and pushes it if there is a place for it. It needs no engine.
// The same sources and the same Go give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/google"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cloudssh/cloudssh/images"
)

func main() {
	version := flag.String("version", "", "version of cloudssh, which client and agent must share")
	arches := flag.String("arch", "amd64", "architectures, separated by commas; Cloud Run's is amd64")
	out := flag.String("out", "", "directory for the layout; it is replaced")
	push := flag.String("push", "", "repository or reference to push to, too; without a tag the version is the tag")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *version, strings.Split(*arches, ","), *out, *push)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "oci:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version string, arches []string, out, push string) error {
	if version == "" || out == "" {
		return errors.New("-version and -out are needed")
	}
	index, err := index(ctx, version, arches)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("putting the image together: %w", err)
	}
	if err := write(index, out, version); err != nil {
		return err
	}
	fmt.Printf("%s: %s:%s@%s\n", out, images.AgentRepository, version, digest)
	if push == "" {
		return nil
	}
	ref, err := reference(push, version)
	if err != nil {
		return err
	}
	keys := authn.NewMultiKeychain(authn.DefaultKeychain, google.Keychain)
	if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(keys)); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	fmt.Printf("pushed: %s\n", ref)
	return nil
}

// index is the image for all architectures.
func index(ctx context.Context, version string, arches []string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range arches {
		img, err := images.AgentImage(ctx, arch, version)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

// write makes the layout, with the version as the name by which other tools ask
// for what is in it.
func write(index v1.ImageIndex, out, version string) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	dir, err := layout.Write(out, empty.Index)
	if err != nil {
		return fmt.Errorf("writing %s: %w", out, err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": version})
	if err := dir.AppendIndex(index, named); err != nil {
		return fmt.Errorf("writing %s: %w", out, err)
	}
	return nil
}

// reference is where to push to.
func reference(text, version string) (name.Reference, error) {
	if repository, err := name.NewRepository(text, name.StrictValidation); err == nil {
		return repository.Tag(version), nil
	}
	ref, err := name.ParseReference(text)
	if err != nil {
		return nil, fmt.Errorf("reading the reference %q: %w", text, err)
	}
	return ref, nil
}
