package emulator_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// agentImage is an image with the real agent and nothing else.
func agentImage(t *testing.T) v1.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/cloudssh-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, out)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	header := &tar.Header{Name: "agent", Mode: 0o755, Size: int64(len(binary))}
	if err := errors.Join(w.WriteHeader(header), writeAll(w, binary), w.Close()); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(image(t, "/agent"), l)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func writeAll(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// agentSettings are as the client writes them, for a twin whose lease ends at a time.
func agentSettings(t *testing.T, name string, expires time.Time) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"version": 1, "authorized_keys": []string{string(ssh.MarshalAuthorizedKey(key))},
		"expires": expires.Unix(), "resource": parent + "/services/" + name, "service": "hello", "twin": name,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// At the end of its lease an agent deletes its twin if the service account may, and says so if it may not.
func TestAgentDeletesItsTwin(t *testing.T) {
	needRunc(t)
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.RuntimeKind, o.StateDir = runtime.Runc, t.TempDir() })
	ref, err := s.Push(t.Context(), "demo/agent", agentImage(t))
	if err != nil {
		t.Fatal(err)
	}
	c := services(t, s)
	const may, mayNot = "may@cloudssh-demo.iam.gserviceaccount.com", "may-not@cloudssh-demo.iam.gserviceaccount.com"
	s.Grant(may, "roles/run.developer")
	twin := func(id, account string) *runpb.Service {
		return createLeased(t, c, id, func(expires time.Time) *runpb.Service {
			return &runpb.Service{Template: &runpb.RevisionTemplate{
				ServiceAccount: account,
				Containers: []*runpb.Container{{Image: ref, Env: []*runpb.EnvVar{
					{Name: "CLOUDSSH_AGENT", Values: &runpb.EnvVar_Value{Value: agentSettings(t, id, expires)}},
				}}},
			}}
		})
	}
	deleted, refused := twin("hello-ssh", may), twin("other-ssh", mayNot)

	const denied = "the agent could not delete its twin"
	if line := awaitLog(t, s, refused, "its twin"); !strings.Contains(line, denied) || !strings.Contains(line, "403 Forbidden: Permission 'run.services.delete' denied") {
		t.Errorf("the agent that may not says %s", line)
	}
	if line := awaitLog(t, s, deleted, "its twin"); !strings.Contains(line, "the agent deleted its twin") {
		t.Fatalf("the agent that may says %s", line)
	}
	// Deleting it again waits for the same end, if that is not there yet.
	op, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: deleted.GetName()})
	if err == nil {
		_, err = op.Wait(t.Context())
	}
	if err != nil && status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	if _, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: refused.GetName()}); err != nil {
		t.Errorf("the other twin: %v", err)
	}
}

// createLeased creates a service whose agent has a lease that is as short as may be. One that ended before the agent had
// begun, on a busy machine, is made longer.
func createLeased(t *testing.T, c *run.ServicesClient, id string, spec func(expires time.Time) *runpb.Service) *runpb.Service {
	t.Helper()
	const longest = time.Minute
	for lease := 6 * time.Second; ; lease *= 2 {
		op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{
			Parent: parent, ServiceId: id, Service: spec(time.Now().Add(lease)),
		})
		if err != nil {
			t.Fatal(err)
		}
		svc, err := op.Wait(t.Context())
		if err == nil {
			return svc
		}
		if lease > longest {
			t.Fatal(err)
		}
		gone, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: parent + "/services/" + id})
		if err == nil {
			_, err = gone.Wait(t.Context())
		}
		if err != nil && status.Code(err) != codes.NotFound { // the agent may have been faster
			t.Fatal(err)
		}
	}
}

// awaitLog waits for a line in the log of a service's revision.
func awaitLog(t *testing.T, s *emulator.Server, svc *runpb.Service, want string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // leases are of minutes on a busy machine
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+s.Addr+"/emulator/v1/logs/"+svc.GetLatestCreatedRevision()+"?follow=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all strings.Builder
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), want) {
			return lines.Text()
		}
		all.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("no %q in the log:\n%s", want, all.String())
	return ""
}
