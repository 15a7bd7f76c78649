package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The messages of exportImage and exportStatus are in the v2 discovery document and in no Go library.
type exportImageRequest struct {
	DestinationRepo string `json:"destinationRepo"`
}

type exportImageResponse struct {
	OperationID string `json:"operationId"`
}

type exportStatusResponse struct {
	OperationID         string              `json:"operationId"`
	OperationState      string              `json:"operationState"`
	ImageExportStatuses []imageExportStatus `json:"imageExportStatuses,omitempty"`
}

type imageExportStatus struct {
	ExportJobState      string        `json:"exportJobState"`
	Tag                 string        `json:"tag,omitempty"`
	ExportedImageDigest string        `json:"exportedImageDigest,omitempty"`
	Status              *exportStatus `json:"status,omitempty"`
}

// exportStatus is a UtilStatusProto; it is there only after a failure.
type exportStatus struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

const (
	exportRunning  = "IN_PROGRESS"
	exportFinished = "FINISHED"
)

// registerExport serves the custom methods that write the images of a revision or of an execution to a repository: the
// platform keeps images that their registry has lost.
func (a *admin) registerExport(mux *http.ServeMux) {
	const base = "/v2/projects/{p}/locations/{l}"
	for _, resource := range []string{"/services/{s}/revisions/{r}", "/workerPools/{s}/revisions/{r}", "/jobs/{s}/executions/{r}"} {
		mux.Handle("POST "+base+resource+"/:exportImage", a.json(apiRun, "ExportImage", a.exportImage))
		mux.Handle("GET "+base+resource+"/{op}/:exportStatus", a.json(apiRun, "ExportStatus", a.exportStatus))
	}
}

// json wraps a method of an API that has no gRPC form here in authentication and JSON.
func (a *admin) json(api, method string, serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := a.authenticate(r.Context(), r.Header.Get(authorization))
		if err == nil {
			_, resource, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the version
			resource, _, _ = strings.Cut(resource, "/:")
			err = a.enabled(api, a.canonicalProject(r))
			if err == nil {
				err = a.inject(method, resource)
			}
		}
		var body any
		if err == nil {
			body, err = serve(r.WithContext(ctx))
		}
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		// What remains to fail is the client's connection.
		_ = json.NewEncoder(w).Encode(body)
	})
}

// readJSON decodes a request's body; fields that it does not know are refused, as the platform does.
func readJSON(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest("", "Invalid JSON payload received. "+err.Error())
	}
	return nil
}

// exported finds the images of what an export request names: imported ones, by digest.
func (a *admin) exported(r *http.Request) ([]*runpb.Container, error) {
	resource, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/:")
	if op := r.PathValue("op"); op != "" {
		resource = strings.TrimSuffix(resource, "/"+op)
	}
	if strings.Contains(resource, "/jobs/") {
		e, err := a.GetExecution(r.Context(), &runpb.GetExecutionRequest{Name: resource})
		return e.GetTemplate().GetContainers(), err
	}
	if _, err := a.GetRevision(r.Context(), &runpb.GetRevisionRequest{Name: resource}); err != nil {
		return nil, err
	}
	n, err := a.revision("name", resource)
	if err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	_, rev, err := a.store.findRevision(n)
	if err != nil {
		return nil, err
	}
	return rev.template.GetContainers(), nil
}

func (a *admin) exportImage(r *http.Request) (any, error) {
	containers, err := a.exported(r)
	if err != nil {
		return nil, err
	}
	var req exportImageRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if _, err := name.NewRepository(req.DestinationRepo); err != nil {
		return nil, badRequest("destination_repo", fmt.Sprintf("Invalid value at 'destination_repo': %q", req.DestinationRepo))
	}
	id, tag := newUID(), r.PathValue("r")
	state := exportStatusResponse{OperationID: id, OperationState: exportRunning}
	for range containers {
		state.ImageExportStatuses = append(state.ImageExportStatuses, imageExportStatus{ExportJobState: exportRunning})
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if err := a.open(); err != nil {
		return nil, err
	}
	a.store.exports[id] = state
	a.work.Go(func() {
		done := exportStatusResponse{OperationID: id, OperationState: exportFinished}
		for _, c := range containers {
			done.ImageExportStatuses = append(done.ImageExportStatuses, a.export(a.ctx, c.GetImage(), req.DestinationRepo, tag))
		}
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		a.store.exports[id] = done
		a.store.notify()
	})
	return exportImageResponse{id}, nil
}

func (a *admin) exportStatus(r *http.Request) (any, error) {
	if _, err := a.exported(r); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	state, ok := a.store.exports[r.PathValue("op")]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "Operation '%s' does not exist.", r.PathValue("op"))
	}
	return state, nil
}

// export writes an imported image into a repository, under its own last name and with the resource's for a tag.
func (a *admin) export(ctx context.Context, image, destination, tag string) imageExportStatus {
	done := imageExportStatus{ExportJobState: exportFinished}
	to, digest, err := a.push(ctx, image, destination, tag)
	if err != nil {
		done.Status = &exportStatus{int(codes.Internal), err.Error()}
		var reg *transport.Error
		switch {
		case errors.As(err, &reg) && (reg.StatusCode == http.StatusForbidden || reg.StatusCode == http.StatusUnauthorized):
			done.Status.Code = int(codes.PermissionDenied)
		case errors.As(err, &reg) && reg.StatusCode == http.StatusNotFound:
			done.Status.Code = int(codes.NotFound)
		}
		return done
	}
	done.Tag, done.ExportedImageDigest = to, digest
	return done
}

func (a *admin) push(ctx context.Context, image, destination, tag string) (to, digest string, err error) {
	from, err := name.ParseReference(image)
	if err != nil {
		return "", "", fmt.Errorf("parsing image reference %s: %w", image, err)
	}
	target, err := name.NewTag(destination + "/" + path.Base(from.Context().RepositoryStr()) + ":" + tag)
	if err != nil {
		return "", "", fmt.Errorf("naming the export of %s: %w", image, err)
	}
	img, err := a.images.pull(ctx, image)
	if err != nil {
		return "", "", err
	}
	hash, err := img.Digest()
	if err != nil {
		return "", "", fmt.Errorf("reading the digest of image %s: %w", image, err)
	}
	if err := remote.Write(target, img, remote.WithContext(ctx), remote.WithTransport(a.images.transport)); err != nil {
		return "", "", fmt.Errorf("exporting to %s: %w", target, err)
	}
	return target.String(), hash.String(), nil
}
