package emulator_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

type exportState struct {
	OperationState      string `json:"operationState"`
	ImageExportStatuses []struct {
		Tag                 string `json:"tag"`
		ExportedImageDigest string `json:"exportedImageDigest"`
		Status              *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"status"`
	} `json:"imageExportStatuses"`
}

// exportImage exports the images of a resource and waits for the end.
func exportImage(t *testing.T, s *emulator.Server, resource, destination string) exportState {
	t.Helper()
	code, body := do(t, s, http.MethodPost, "/v2/"+resource+":exportImage", `{"destinationRepo":"`+destination+`"}`)
	var op struct {
		OperationID string `json:"operationId"`
	}
	if err := json.Unmarshal([]byte(body), &op); err != nil || code != http.StatusOK || op.OperationID == "" {
		t.Fatalf("exportImage: %d %s", code, body)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		code, body = do(t, s, http.MethodGet, "/v2/"+resource+"/"+op.OperationID+":exportStatus", "")
		var state exportState
		if err := json.Unmarshal([]byte(body), &state); err != nil || code != http.StatusOK {
			t.Fatalf("exportStatus: %d %s", code, body)
		}
		if state.OperationState == "FINISHED" {
			return state
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", body)
		}
	}
}

// The image of a revision can be had again when its registry has lost it.
func TestExportImage(t *testing.T) {
	t.Parallel()
	s := start(t, chores(nil), func(o *emulator.Options) {
		o.DenyPush = func(repo string) bool { return strings.HasPrefix(repo, "closed/") }
	})
	img := pushChores(t, s)
	op, err := services(t, s).CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "hello", Service: service(s, "demo/web")})
	if err != nil {
		t.Fatal(err)
	}
	made, err := op.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(s.RegistryAddr + "/demo/web:latest")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []name.Reference{ref, ref.Context().Digest(digest.Digest.String())} {
		if err := remote.Delete(r); err != nil {
			t.Fatal(err)
		}
	}
	state := exportImage(t, s, made.GetLatestReadyRevision(), s.RegistryAddr+"/rescued")
	if len(state.ImageExportStatuses) != 1 || state.ImageExportStatuses[0].Status != nil || state.ImageExportStatuses[0].ExportedImageDigest != digest.Digest.String() {
		t.Fatalf("exported %+v", state)
	}
	got, err := name.ParseReference(state.ImageExportStatuses[0].Tag)
	if err != nil || got.Context().Name() != s.RegistryAddr+"/rescued/web" {
		t.Fatalf("exported to %q: %v", state.ImageExportStatuses[0].Tag, err)
	}
	if back, err := remote.Head(got); err != nil || back.Digest != digest.Digest {
		t.Errorf("the export is %v: %v", back, err)
	}
	state = exportImage(t, s, made.GetLatestReadyRevision(), s.RegistryAddr+"/closed")
	if st := state.ImageExportStatuses[0].Status; st == nil || st.Code != 7 || !strings.Contains(st.Message, "DENIED") {
		t.Errorf("a repository that refuses: %+v", state)
	}

	c := jobs(t, s)
	mustCreateJob(t, c, "chore", newJob(img("print"), 0))
	ran, err := c.RunJob(t.Context(), &runpb.RunJobRequest{Name: parent + "/jobs/chore"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := ran.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if state := exportImage(t, s, e.GetName(), s.RegistryAddr+"/rescued"); state.ImageExportStatuses[0].Status != nil {
		t.Errorf("an execution's: %+v", state)
	}
	for path, want := range map[string]int{
		made.GetLatestReadyRevision() + "x:exportImage":                http.StatusNotFound,
		made.GetLatestReadyRevision() + "/nope:exportStatus":           http.StatusNotFound,
		"projects/p/locations/mars/services/s/revisions/r:exportImage": http.StatusForbidden,
	} {
		method := http.MethodPost
		if strings.HasSuffix(path, "Status") {
			method = http.MethodGet
		}
		if code, body := do(t, s, method, "/v2/"+path, `{"destinationRepo":"a/b"}`); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}
