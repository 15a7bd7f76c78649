package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

// images are those of a revision, as they run.
type images struct {
	// pinned are references by digest, by the container's index; a sidecar that could not be pinned is absent.
	pinned map[int]string
	// main is the index of the container that takes requests, base its image for Cloud Run's platform, config the
	// latter's.
	main   int
	base   v1.Image
	config *v1.ConfigFile
}

// read pins the images of a revision and reads the one that the agent goes into.
func (b *Backend) read(ctx context.Context, t target, update func(string)) (images, error) {
	containers := t.revision.GetContainers()
	if len(containers) == 0 {
		return images{}, fmt.Errorf("revision %s has no container", lastSegment(t.revision.GetName()))
	}
	i := images{pinned: map[int]string{}, main: mainContainer(containers)}
	running := digests{}
	for n, c := range containers {
		if !strings.Contains(c.GetImage(), "@") && running.empty() {
			running = b.digests(ctx, t)
		}
		pinned, err := b.pin(ctx, c.GetName(), c.GetImage(), running.of(c.GetName(), n == i.main), update)
		if err != nil && n == i.main {
			return images{}, b.imageError(err, c.GetImage(), t)
		}
		if err != nil { // the platform has its own copy of a sidecar's image, and may read what the user may not
			b.Logger.WarnContext(ctx, "the sidecar's image is taken by its tag", "container", c.GetName(), "error", err)
			continue
		}
		i.pinned[n] = pinned
	}
	ref, err := name.ParseReference(i.pinned[i.main])
	if err != nil {
		return images{}, fmt.Errorf("reading the image's name: %w", err)
	}
	if i.base, err = inject.Resolve(ctx, ref, b.Remote...); err != nil {
		return images{}, b.imageError(err, i.pinned[i.main], t)
	}
	i.config, err = i.base.ConfigFile()
	return i, err
}

// pin is a reference by digest: the one given, if it is one; the one that runs; or what the tag means now.
func (b *Backend) pin(ctx context.Context, container, image, running string, update func(string)) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", fmt.Errorf("reading the image's name: %w", err)
	}
	if d, ok := ref.(name.Digest); ok {
		return d.String(), nil
	}
	if _, digest, ok := strings.Cut(running, "@"); ok {
		return ref.Context().Digest(digest).String(), nil
	}
	desc, err := remote.Head(ref, b.remote(ctx)...)
	if err != nil {
		return "", err
	}
	b.Logger.WarnContext(ctx, "Cloud Run does not tell which image runs; taking what the tag means now",
		"container", container, "image", image, "digest", desc.Digest)
	update(fmt.Sprintf("%s as it is now", image))
	return ref.Context().Digest(desc.Digest.String()).String(), nil
}

func (b *Backend) remote(ctx context.Context) []remote.Option {
	return append(slices.Clone(b.Remote), remote.WithContext(ctx))
}

// digests are the images that a revision runs, "repository@sha256:...". Only v1 tells them.
type digests struct {
	asked      bool
	main       string
	containers map[string]string
}

func (d digests) empty() bool { return !d.asked }

func (d digests) of(container string, main bool) string {
	if c := d.containers[container]; c != "" || !main {
		return c
	}
	return d.main
}

// digests asks v1. Without an answer the registry is asked what the tags mean now, so that an error is no failure.
func (b *Backend) digests(ctx context.Context, t target) digests {
	var rev struct {
		Status struct {
			ImageDigest       string `json:"imageDigest"`
			ContainerStatuses []struct {
				Name        string `json:"name"`
				ImageDigest string `json:"imageDigest"`
			} `json:"containerStatuses"`
		} `json:"status"`
	}
	d := digests{asked: true, containers: map[string]string{}}
	err := b.get(ctx, "/v1/"+b.parent(t.region)+"/revisions/"+lastSegment(t.revision.GetName()), &rev)
	if err != nil {
		b.Logger.DebugContext(ctx, "asking which image runs", "error", err)
		return d
	}
	d.main = rev.Status.ImageDigest
	for _, c := range rev.Status.ContainerStatuses {
		d.containers[c.Name] = c.ImageDigest
	}
	return d
}

// addAgent puts the agent into the image and the image into the repository that its base came from, unless it is there.
// It returns the new image's reference by digest.
func (b *Backend) addAgent(ctx context.Context, i images, update func(string)) (string, error) {
	agent, err := b.Agent(ctx, arch)
	if err != nil {
		return "", fmt.Errorf("getting the agent: %w", err)
	}
	baseDigest, err := i.base.Digest()
	if err != nil {
		return "", fmt.Errorf("reading the image's digest: %w", err)
	}
	img, err := inject.Agent(i.base, agent)
	if err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("reading the new image's digest: %w", err)
	}
	ref, err := name.ParseReference(i.pinned[i.main])
	if err != nil {
		return "", fmt.Errorf("reading the image's name: %w", err)
	}
	byDigest := ref.Context().Digest(digest.String())
	tag := ref.Context().Tag(inject.Tag(agent, baseDigest))
	return byDigest.String(), b.push(ctx, img, digest, tag, byDigest, update)
}

// push writes an image under a tag. A tag that is there with this content is all we want; one with other content
// (made by another compiler, or somebody's trick) is neither trusted nor overwritten: repositories with immutable tags
// refuse that.
func (b *Backend) push(ctx context.Context, img v1.Image, digest v1.Hash, tag name.Tag, byDigest name.Digest, update func(string)) error {
	var to name.Reference = tag
	if there, err := remote.Head(tag, b.remote(ctx)...); err == nil {
		if there.Digest == digest {
			update("there already")
			return nil
		}
		to = byDigest
	}
	update("pushing to " + to.String())
	if err := remote.Write(to, img, b.remote(ctx)...); err != nil {
		return b.pushError(fmt.Errorf("pushing %s: %w", to, err), tag.Context())
	}
	return nil
}

// refusal is the kind of an HTTP status that a registry answered with.
func refusal(err error) (denied, missing bool) {
	var te *transport.Error
	if !errors.As(err, &te) {
		return false, false
	}
	switch te.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return true, false
	case http.StatusNotFound:
		return false, true
	}
	return false, false
}

func (b *Backend) imageError(err error, image string, t target) error {
	denied, missing := refusal(err)
	err = fmt.Errorf("reading image %s of service %s: %w", image, t.name(), err)
	switch {
	case missing:
		return provision.Hint(fmt.Errorf("the image %s is gone from its registry: %w", image, err),
			"Cloud Run keeps a copy of its own; put it back with",
			fmt.Sprintf(`curl -X POST -H "Authorization: Bearer $(gcloud auth print-access-token)" -H 'Content-Type: application/json' `+
				`-d '{"destinationRepo": "%s-docker.pkg.dev/%s/REPOSITORY"}' https://run.googleapis.com/v2/%s:exportImage`,
				t.region, b.Project, t.revision.GetName()))
	case denied:
		return b.registryDenied(err, image, "artifactregistry.repositories.downloadArtifacts")
	}
	return err
}

func (b *Backend) pushError(err error, repo name.Repository) error {
	if denied, _ := refusal(err); denied {
		return b.registryDenied(err, repo.String(), "artifactregistry.repositories.uploadArtifacts")
	}
	return err
}

// registryDenied names the role on the repository, if it is one of Artifact Registry
// (LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/...), else on the project, if the registry is Google's at all.
func (b *Backend) registryDenied(err error, image, permission string) error {
	role := roleWith(permission)
	missing := fmt.Sprintf("missing permission %s, in %s:", permission, role)
	parts := strings.Split(image, "/")
	location, isAR := strings.CutSuffix(parts[0], "-docker.pkg.dev")
	switch {
	case isAR && len(parts) >= 3:
		return provision.Hint(err, missing, fmt.Sprintf(
			"gcloud artifacts repositories add-iam-policy-binding %s --location %s --project %s --member %s --role %s",
			parts[2], location, parts[1], member(b.Account), role))
	case strings.HasSuffix(parts[0], "gcr.io") && len(parts) >= 2:
		return provision.Hint(err, missing, fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member %s --role %s",
			parts[1], member(b.Account), role))
	}
	return provision.Hint(err, missing, b.grant(member(b.Account), role))
}
