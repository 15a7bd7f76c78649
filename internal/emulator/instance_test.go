package emulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// caller is a program that passes on requests to what its instance reaches: POST /?method=DELETE&url=...&auth=yes.
func caller(ctx context.Context, p runtime.Proc) error {
	l, err := p.Listen(ctx, ":"+p.Getenv("PORT"))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return p.Dial(ctx, address) }, DisableKeepAlives: true,
	}}
	call := func(ctx context.Context, method, url, header, value string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
		if err != nil {
			return 0, err.Error()
		}
		if header != "" {
			req.Header.Set(header, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		header, value := "", ""
		if q.Get("auth") != "" {
			var token struct {
				AccessToken string `json:"access_token"`
			}
			_, body := call(r.Context(), "GET", "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token", "Metadata-Flavor", "Google")
			_ = json.Unmarshal([]byte(body), &token)
			header, value = "Authorization", "Bearer "+token.AccessToken
		}
		code, body := call(r.Context(), q.Get("method"), "http://"+p.Getenv("RUN_EMULATOR_HOST")+q.Get("path"), header, value)
		fmt.Fprintf(w, "%d %s", code, body)
	})}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
	select {
	case <-p.Signals:
	case <-ctx.Done():
	}
	return s.Shutdown(ctx) // the answer to a deletion comes after the signal that it brings
}

// startCaller runs a service of that program as an account, and returns a function that makes it call.
func startCaller(t *testing.T, s *emulator.Server, account string) (name string, call func(method, path, auth string) string) {
	t.Helper()
	if _, err := s.Push(t.Context(), "demo/caller", image(t, "/caller")); err != nil {
		t.Fatal(err)
	}
	id := "caller-" + strings.Split(account, "@")[0]
	svc := service(s, "demo/caller")
	svc.InvokerIamDisabled, svc.Template.ServiceAccount = true, account
	made := create(t, services(t, s), id, svc)
	return made.GetName(), func(method, path, auth string) string {
		_, body := get(t, s, made.GetUri()+"/?method="+method+"&path="+path+"&auth="+auth)
		return body
	}
}

func TestAdminAPIInInstances(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.Programs["/caller"] = caller })
	s.Grant("may@cloudssh-demo.iam.gserviceaccount.com", "roles/run.developer")
	s.Grant("looks@cloudssh-demo.iam.gserviceaccount.com", "roles/run.viewer")
	looks, call := startCaller(t, s, "looks@cloudssh-demo.iam.gserviceaccount.com")
	for _, tt := range []struct{ method, path, auth, want string }{
		{"GET", "/v2/" + looks, "", "401"}, // nobody is the owner here
		{"DELETE", "/v2/" + looks, "", "401"},
		{"GET", "/v1/projects/cloudssh-demo/locations/-/services", "", "401"},
		{"GET", "/v2/" + looks, "yes", "200"},
		{"GET", "/v1/projects/cloudssh-demo/locations/-/services", "yes", "200"},
		{"DELETE", "/v2/" + looks, "yes", "403"},
		{"GET", "/emulator/v1/logs/" + looks, "yes", "404"}, // the API and nothing else
		{"GET", "/token", "yes", "404"},
	} {
		if got := call(tt.method, tt.path, tt.auth); !strings.HasPrefix(got, tt.want+" ") {
			t.Errorf("%s %s (token: %q): %s, want %s", tt.method, tt.path, tt.auth, got, tt.want)
		}
	}
	may, call := startCaller(t, s, "may@cloudssh-demo.iam.gserviceaccount.com")
	if got := call("DELETE", "/v2/"+may, "yes"); !strings.HasPrefix(got, "200 ") {
		t.Fatalf("deleting itself: %s", got)
	}
	op, err := services(t, s).DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: may})
	if err == nil { // it is on its way: wait for the end
		_, err = op.Wait(t.Context())
	}
	if err != nil && !refused(err, codes.NotFound) {
		t.Error(err)
	}
}

// A renewed lease is a label: the instance, and who is in it, is not disturbed.
func TestLabelsMakeNoRevision(t *testing.T) {
	t.Parallel()
	for kind, connect := range dialects() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := connect(t, s)
			svc := service(s, "demo/web")
			svc.Labels, svc.Annotations = map[string]string{"expires": "1", "kept": "x"}, map[string]string{"example.com/a": "1"}
			svc.Template.Labels = map[string]string{"expires": "1"}
			first := create(t, c, "labels", svc)
			for _, paths := range [][]string{{"labels"}, {"annotations"}, {"labels", "annotations"}} {
				next := &runpb.Service{
					Name: first.GetName(), Etag: first.GetEtag(), Labels: map[string]string{"expires": paths[0], "kept": "x"},
					Annotations: map[string]string{"example.com/a": paths[0]},
				}
				op, err := c.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
				if err != nil {
					t.Fatal(err)
				}
				second, err := op.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if second.GetLatestCreatedRevision() != first.GetLatestCreatedRevision() || second.GetReconciling() {
					t.Errorf("%v made revision %s", paths, second.GetLatestCreatedRevision())
				}
				if second.GetTemplate().GetLabels()["expires"] != "1" || second.GetEtag() == first.GetEtag() {
					t.Errorf("%v: %v", paths, second)
				}
				if got := second.GetLabels(); len(got) != 2 || slices.Contains(paths, "labels") && got["expires"] != paths[0] {
					t.Errorf("%v: labels %v", paths, got)
				}
				first = second
			}
		})
	}
}

// What a service keeps warm shows in v1 as an annotation of the service.
func TestMinimumInV1(t *testing.T) {
	t.Parallel()
	s := start(t)
	svc := service(s, "demo/web")
	svc.Scaling = &runpb.ServiceScaling{MinInstanceCount: 1, MaxInstanceCount: 1}
	create(t, services(t, s), "warm", svc)
	code, body := do(t, s, "GET", "/v1/projects/cloudssh-demo/locations/-/services", "")
	if code != http.StatusOK || !strings.Contains(body, `"run.googleapis.com/minScale":"1"`) && !strings.Contains(body, `"run.googleapis.com/minScale": "1"`) {
		t.Errorf("%d %s", code, body)
	}
}
