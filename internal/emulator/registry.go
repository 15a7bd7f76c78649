package emulator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// newRegistry is an OCI registry with its blobs in a directory or, for "", in memory. Its tags live as long as the
// emulator.
func newRegistry(dir string, f Faults) http.Handler {
	options := []registry.Option{registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)}
	if dir != "" {
		options = append(options, registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)))
	}
	content := registry.New(options...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		denied, action := f.DenyPush, "uploadArtifacts"
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			denied, action = f.DenyPull, "downloadArtifacts"
		}
		if repo := repository(r.URL.Path); repo != "" && denied != nil && denied(repo) {
			refusePath(w, repo, action)
			return
		}
		content.ServeHTTP(w, r)
	})
}

// repository is the repository that a registry path is about: /v2/<repository>/{blobs,manifests,tags,referrers}/...
func repository(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return ""
	}
	end := -1
	for _, part := range []string{"/blobs/", "/manifests/", "/tags/", "/referrers/"} {
		end = max(end, strings.LastIndex(rest, part))
	}
	if end < 0 {
		return ""
	}
	return rest[:end]
}

// refusePath refuses as Artifact Registry does.
func refusePath(w http.ResponseWriter, repo, action string) {
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string][]problem{"errors": {{ // what can fail is the client's connection
		Code:    "DENIED",
		Message: fmt.Sprintf("Permission \"artifactregistry.repositories.%s\" denied on resource \"%s\" (or it may not exist)", action, repo),
	}}})
}

// Push writes an image to the emulator's registry under a repository name ("demo/hello") and tag "latest", and returns
// the reference a service can name. Faults.DenyPush applies.
func (s *Server) Push(ctx context.Context, repo string, img v1.Image) (ref string, err error) {
	tag, err := name.NewTag(s.RegistryAddr+"/"+repo+":latest", name.Insecure)
	if err != nil {
		return "", fmt.Errorf("naming image %s: %w", repo, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithTransport(s.transport)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", tag, err)
	}
	return tag.String(), nil
}
