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

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

// images are those of a target, as they run.
type images struct {
	// pinned are references by digest, by the container's index; one that could not be pinned is absent.
	pinned map[int]string
	// main is the index of the container that is entered, base its image for Cloud Run's platform, config the latter's.
	// base is nil when no layer can be appended, and noLayer then says why.
	main    int
	base    v1.Image
	config  *v1.ConfigFile
	noLayer error
	// gone is the error of an image that its registry does not have any more; base and config are empty then.
	gone error
}

// read pins the images of a target and reads the one that the agent goes into.
func (b *Backend) read(ctx context.Context, t target, req provision.Request, update func(string)) (images, error) {
	containers := t.revision.GetContainers()
	main, err := entered(containers, req.Container)
	if err != nil {
		return images{}, err
	}
	i := images{pinned: map[int]string{}, main: main, config: &v1.ConfigFile{}}
	if i.gone, err = b.pinAll(ctx, t, req, i, update); err != nil || i.gone != nil {
		return i, err
	}
	i.base, i.config, err = b.resolve(ctx, i.pinned[main])
	_, missing := refusal(err)
	command, _ := appCommand(containers[main], req.Overrides)
	switch {
	case err == nil:
		return i, nil
	case missing && req.Target.Image == "":
		i.gone, i.config = b.imageError(err, i.pinned[main], t), &v1.ConfigFile{}
		return i, nil
	case errors.Is(err, errNoLayer):
		i.noLayer = err
		return i, nil
	case len(command) > 0 && denied(err) && req.Target.Image == "": // the platform has a copy, and what the config would tell is known
		i.noLayer, i.config = b.imageError(err, i.pinned[main], t), &v1.ConfigFile{}
		return i, nil
	case denied(err) && req.Inject != provision.InjectLayer:
		return i, provision.Hint(b.imageError(err, i.pinned[main], t),
			fmt.Sprintf("cloudssh %s --command PROGRAM   (what the image runs: then nobody needs to read it)", t.asked))
	}
	return i, b.imageError(err, i.pinned[main], t)
}

// pinAll fills i.pinned. gone is the error of the entered container's image when the registry does not have it and its
// digest is not known.
func (b *Backend) pinAll(ctx context.Context, t target, req provision.Request, i images, update func(string)) (gone, err error) {
	running := digests{}
	for n, c := range t.revision.GetContainers() {
		if req.NoSidecars && n != i.main {
			continue
		}
		image, runs := c.GetImage(), ""
		if n == i.main && req.Target.Image != "" {
			image = req.Target.Image
		} else if !strings.Contains(image, "@") {
			if running.empty() {
				running = b.digests(ctx, t)
			}
			runs = running.of(c.GetName(), n == mainContainer(t.revision.GetContainers()))
		}
		asked := n == i.main && req.Target.Image != "" // then the tag's meaning now is what is wanted
		now := asked || t.asked.Kind == provision.KindJob || t.asked.Kind == provision.KindWorkerPool
		pinned, err := b.pin(ctx, c.GetName(), image, runs, now, update)
		_, missing := refusal(err)
		switch {
		case err == nil:
			i.pinned[n] = pinned
		case n == i.main && missing && !asked:
			return b.imageError(err, image, t), nil
		case n == i.main:
			return nil, b.imageError(err, image, t)
		default: // the platform has its own copy of a sidecar's image, and may read what the user may not
			b.Logger.WarnContext(ctx, "the sidecar's image is taken by its tag", "container", c.GetName(), "error", err)
		}
	}
	return nil, nil
}

// mainContainer is the index of the container that takes requests: the one with a port, else the first.
func mainContainer(all []*runpb.Container) int {
	return max(0, slices.IndexFunc(all, func(c *runpb.Container) bool { return len(c.GetPorts()) > 0 }))
}

// pin is a reference by digest: the one given, if it is one; the one that runs; or what the tag means now, which is a
// surprise unless now says that nothing else is to be expected.
func (b *Backend) pin(ctx context.Context, container, image, running string, now bool, update func(string)) (string, error) {
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
	if !now {
		b.Logger.WarnContext(ctx, "Cloud Run does not tell which image runs; taking what the tag means now",
			"container", container, "image", image, "digest", desc.Digest)
	}
	update(fmt.Sprintf("%s as it is now", image))
	return ref.Context().Digest(desc.Digest.String()).String(), nil
}

// resolve reads an image by its reference. errNoLayer comes with a config.
func (b *Backend) resolve(ctx context.Context, pinned string) (v1.Image, *v1.ConfigFile, error) {
	ref, err := name.ParseReference(pinned)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the image's name: %w", err)
	}
	base, err := inject.Resolve(ctx, ref, b.Remote...)
	if errors.Is(err, inject.ErrUnsupported) {
		config, serr := b.readSchema1(ctx, ref)
		if config == nil || serr != nil {
			return nil, nil, errors.Join(provision.Hint(err,
				"docker buildx build --platform linux/amd64 --push ...   (an image that Cloud Run can run)"), serr)
		}
		return nil, config, fmt.Errorf("%s is in the format Docker schema 1: %w", ref, errNoLayer)
	}
	if err != nil {
		return nil, nil, err
	}
	config, err := base.ConfigFile()
	return base, config, err
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
	if t.asked.Kind == provision.KindJob { // which has none
		return d
	}
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

// pushLayer puts the agent into the image and the image into the repository that its base came from, unless it is there.
// It returns the new image's reference by digest.
func (b *Backend) pushLayer(ctx context.Context, i images, update func(string)) (string, error) {
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

// denied reports whether a registry wants other credentials than ours, or more permissions.
func denied(err error) bool {
	is, _ := refusal(err)
	return is
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

// imageError says which image of what could not be read, and what to try.
func (b *Backend) imageError(err error, image string, t target) error {
	denied, missing := refusal(err)
	switch {
	case missing && t.asked.Image != "":
		return provision.Hint(&platformError{"there is no image " + image, err}, "crane ls "+repositoryOf(image))
	case missing:
		return &platformError{fmt.Sprintf("the image %s of %s %s is gone from its registry", image, t.asked.Kind.Words(), t.asked.Name), err}
	}
	err = fmt.Errorf("reading image %s of %s %s: %w", image, t.asked.Kind.Words(), t.asked.Name, err)
	if denied {
		return b.registryDenied(err, image, "artifactregistry.repositories.downloadArtifacts")
	}
	return err
}

// repositoryOf is an image's name without tag and digest.
func repositoryOf(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return image
	}
	return ref.Context().String()
}

func (b *Backend) pushError(err error, repo name.Repository) error {
	refused := refusesPush(err)
	if denied(err) {
		err = b.registryDenied(err, repo.String(), "artifactregistry.repositories.uploadArtifacts")
	}
	if refused {
		return &refusedError{err}
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
