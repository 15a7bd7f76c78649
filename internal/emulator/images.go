package emulator

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/protobuf/proto"
)

// images imports images, as the platform does when a revision is deployed: a tag is resolved then, once, and what
// the revision runs does not change afterwards when the tag moves.
type images struct {
	ctx       context.Context // ends when the emulator closes; layers are read under it
	transport http.RoundTripper

	mu       sync.Mutex
	imported map[string]v1.Image // by reference with digest
}

func newImages(ctx context.Context, t http.RoundTripper) *images {
	return &images{ctx: ctx, transport: t, imported: map[string]v1.Image{}}
}

// pin imports the images of a template and returns a template that names them by digest. What cannot be imported
// keeps its name: the fleet asks for it again and turns the error into the platform's words.
func (im *images) pin(ctx context.Context, t *runpb.RevisionTemplate) *runpb.RevisionTemplate {
	t = proto.CloneOf(t)
	for _, c := range t.GetContainers() {
		if pinned, _, err := im.fetch(ctx, c.GetImage()); err == nil {
			c.Image = pinned
		}
	}
	return t
}

// fetch reads an image's manifest; its layers are read when they are unpacked, which can be long after ctx.
func (im *images) fetch(ctx context.Context, image string) (pinned string, img v1.Image, err error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", nil, fmt.Errorf("parsing image reference %s: %w", image, err)
	}
	reading, cancel := context.WithCancel(im.ctx)
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	digest, img, err := im.read(reading, ref)
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("reading image %s: %w", image, err)
	}
	if !stop() { // an image that cannot read its layers any more must not be kept for others
		return "", nil, fmt.Errorf("reading image %s: %w", image, ctx.Err())
	}
	pinned = ref.Context().Digest(digest.String()).String()
	im.mu.Lock()
	defer im.mu.Unlock()
	im.imported[pinned] = img
	return pinned, img, nil
}

// read reads a manifest, and the image's configuration with it.
func (im *images) read(ctx context.Context, ref name.Reference) (v1.Hash, v1.Image, error) {
	// Without a platform these options take linux/amd64 out of a manifest list, as Cloud Run does.
	desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(im.transport))
	if err != nil {
		return v1.Hash{}, nil, err
	}
	if isSchema1(desc.MediaType) {
		img, err := schema1Image(desc)
		return desc.Digest, img, err
	}
	img, err := desc.Image()
	if err != nil {
		return v1.Hash{}, nil, err
	}
	digest, err := img.Digest()
	return digest, img, err
}

// pull returns an imported image, or imports it.
func (im *images) pull(ctx context.Context, ref string) (v1.Image, error) {
	im.mu.Lock()
	img := im.imported[ref]
	im.mu.Unlock()
	if img != nil {
		return img, nil
	}
	_, img, err := im.fetch(ctx, ref)
	return img, err
}
