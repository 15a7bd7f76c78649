package cloudrun

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// exportTimeout bounds the wait for an image that the platform pushes; how long it takes is not documented.
const exportTimeout = 10 * time.Minute

// exportStatus is the GoogleCloudRunV2ExportStatusResponse of the discovery document. No gRPC client has the method.
type exportStatus struct {
	OperationState      string `json:"operationState"`
	ImageExportStatuses []struct {
		Tag                 string `json:"tag"`
		ExportedImageDigest string `json:"exportedImageDigest"`
		ExportJobState      string `json:"exportJobState"`
		Status              struct {
			Code          int    `json:"code"`
			CanonicalCode int    `json:"canonicalCode"`
			Message       string `json:"message"`
		} `json:"status"`
	} `json:"imageExportStatuses"`
}

const finished = "FINISHED"

// restore has the platform push its own copy of an image that is gone from its registry, to the repository that it came
// from, and reads it from there.
func (b *Backend) restore(ctx context.Context, t target, i images, update func(string)) (images, error) {
	image := t.revision.GetContainers()[i.main].GetImage()
	ref, err := name.ParseReference(image)
	if err != nil {
		return images{}, fmt.Errorf("reading the image's name: %w", err)
	}
	if t.exporter == "" {
		why := "Cloud Run has a copy, but gives none of a worker pool's"
		if t.asked.Kind == provision.KindJob {
			why = "Cloud Run gives its own copy of what a job has run, and this one has not run yet"
		}
		return images{}, provision.Hint(fmt.Errorf("%w\n%s", i.gone, why), fmt.Sprintf("cloudssh %s --image IMAGE", t.asked))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, exportTimeout, fmt.Errorf("the image is not there after %s", exportTimeout))
	defer cancel()
	to := exportTo(ref.Context())
	update("Cloud Run pushes its copy to " + to)
	status, err := b.export(ctx, t.exporter, to)
	if err != nil {
		return images{}, provision.Hint(errors.Join(i.gone, err), fmt.Sprintf("cloudssh %s --image IMAGE", t.asked))
	}
	pinned, err := b.exported(ctx, status, ref.Context(), to, i.pinned[i.main])
	if err != nil {
		return images{}, errors.Join(i.gone, err)
	}
	i.pinned[i.main], i.gone = pinned, nil
	b.restoreOthers(ctx, t, i, status, to)
	if i.base, i.config, err = b.resolve(ctx, pinned); errors.Is(err, errNoLayer) {
		i.noLayer, err = err, nil
	}
	if err != nil {
		return images{}, b.imageError(err, pinned, t)
	}
	return i, nil
}

// restoreOthers finds, of what was exported, the images of the other containers that are gone too. One that is not found
// stays as it is: the platform says best what it lacks.
func (b *Backend) restoreOthers(ctx context.Context, t target, i images, status exportStatus, to string) {
	for n, c := range t.revision.GetContainers() {
		ref, err := name.ParseReference(cmp.Or(i.pinned[n], c.GetImage()))
		if err != nil || n == i.main {
			continue
		}
		_, err = remote.Head(ref, b.remote(ctx)...)
		if _, missing := refusal(err); !missing {
			continue
		}
		pinned, err := b.exported(ctx, status, ref.Context(), to, i.pinned[n])
		if err != nil {
			b.Logger.DebugContext(ctx, "looking for an exported image", "container", c.GetName(), "error", err)
			continue
		}
		i.pinned[n] = pinned
	}
}

// exportTo is the repository in Artifact Registry that an image is in, LOCATION-docker.pkg.dev/PROJECT/REPOSITORY; elsewhere
// all but the last part of its name.
func exportTo(image name.Repository) string {
	parts := strings.Split(image.String(), "/")
	switch n := len(parts); {
	case strings.HasSuffix(parts[0], "-docker.pkg.dev") && n > 3:
		return strings.Join(parts[:3], "/")
	case n > 2:
		return strings.Join(parts[:n-1], "/")
	}
	return image.String()
}

// export has the images of a revision or execution pushed, and waits for that. The calls are those of the discovery
// document of the Admin API v2; neither the gRPC libraries nor gcloud have them.
func (b *Backend) export(ctx context.Context, resource, to string) (exportStatus, error) {
	doing := "exporting the image of " + lastSegment(resource)
	body, err := json.Marshal(map[string]string{"destinationRepo": to})
	if err != nil {
		return exportStatus{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.RESTURL+"/v2/"+resource+":exportImage", bytes.NewReader(body))
	if err != nil {
		return exportStatus{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	var op struct {
		OperationID string `json:"operationId"`
	}
	if err := b.do(req, &op); err != nil {
		return exportStatus{}, b.explain(err, doing, "")
	}
	for pause := b.pauses(); ; {
		var s exportStatus
		err := b.get(ctx, "/v2/"+resource+"/"+op.OperationID+":exportStatus", &s)
		switch {
		case err != nil && !transient(err):
			return exportStatus{}, b.explain(err, doing, "")
		case err == nil && s.OperationState == finished:
			return s, s.failure(doing)
		}
		if err := pause(ctx); err != nil {
			return exportStatus{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
}

// digestOf is that of an exported image, of several the one whose tag has this name.
func (s exportStatus) digestOf(image string) string {
	if len(s.ImageExportStatuses) == 1 {
		return s.ImageExportStatuses[0].ExportedImageDigest
	}
	var digest string
	for _, e := range s.ImageExportStatuses {
		ref, err := name.ParseReference(e.Tag)
		if err != nil || lastSegment(ref.Context().RepositoryStr()) != image {
			continue
		}
		if digest != "" && digest != e.ExportedImageDigest { // two of one name: only the digest that runs tells them apart
			return ""
		}
		digest = e.ExportedImageDigest
	}
	return digest
}

// failure is the error of an export of which nothing arrived.
func (s exportStatus) failure(doing string) error {
	var errs []error
	for _, e := range s.ImageExportStatuses {
		if e.Status.Code == 0 && e.Status.CanonicalCode == 0 {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %s", doing, e.Status.Message))
	}
	if len(errs) == 0 {
		return fmt.Errorf("%s: the platform pushed none", doing)
	}
	return errors.Join(errs...)
}

// exported finds an image that was pushed: under the tag that the platform names, or where it would belong. known is the
// image by the digest that runs, if that is known.
func (b *Backend) exported(ctx context.Context, s exportStatus, from name.Repository, to, known string) (string, error) {
	_, digest, _ := strings.Cut(known, "@")
	repos := []string{to + "/" + lastSegment(from.RepositoryStr()), from.String(), to}
	digests := []string{digest}
	for _, e := range s.ImageExportStatuses {
		if ref, err := name.ParseReference(e.Tag); err == nil && strings.Contains(e.Tag, "/") {
			repos = append([]string{ref.Context().String()}, repos...)
		}
	}
	digests = append(digests, s.digestOf(lastSegment(from.RepositoryStr())))
	var last error
	for _, d := range digests {
		if _, err := v1.NewHash(d); err != nil {
			continue
		}
		for _, repo := range repos {
			r, err := name.NewRepository(repo)
			if err != nil {
				continue
			}
			if _, last = remote.Head(r.Digest(d), b.remote(ctx)...); last == nil {
				return r.Digest(d).String(), nil
			}
		}
	}
	if last == nil {
		return "", errors.New("the image was exported, but it is not known which of several it is")
	}
	return "", fmt.Errorf("looking for the image that was exported to %s: %w", to, last)
}
