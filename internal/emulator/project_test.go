package emulator_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// ask sends a request with an account's token and returns the status and the decoded answer.
func ask(t *testing.T, s *emulator.Server, account, method, path, body string) (int, map[string]any) {
	t.Helper()
	var headers []string
	if account != "" {
		token, _ := s.Issuer().AccessToken(account)
		headers = []string{"Authorization", "Bearer " + token}
	}
	code, raw := do(t, s, method, path, body, headers...)
	var answer map[string]any
	if err := json.Unmarshal([]byte(raw), &answer); err != nil {
		t.Fatalf("%s %s: %d %q: %v", method, path, code, raw, err)
	}
	return code, answer
}

// at follows names and indices into a decoded answer.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// What a client asks about its project before it starts.
func TestProjectAPIs(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) {
		o.DisabledAPIs = []string{"secretmanager.googleapis.com"}
		o.Policies = map[string][]string{"run.allowedIngress": {"internal"}}
	})
	const project, account = "/projects/cloudssh-demo", "runtime@cloudssh-demo.iam.gserviceaccount.com"
	for _, test := range []struct {
		name, path string
		want       any
		at         []any
	}{
		{"project v1", "/v1" + project, "ACTIVE", []any{"lifecycleState"}},
		{"project v3", "/v3" + project, "cloudssh-demo", []any{"projectId"}},
		{"account", "/v1/projects/-/serviceAccounts/" + account, account, []any{"email"}},
		{"enabled", "/v1" + project + "/services/run.googleapis.com", "ENABLED", []any{"state"}},
		{"disabled", "/v1" + project + "/services/secretmanager.googleapis.com", "DISABLED", []any{"state"}},
		{
			"batch", "/v1" + project + "/services:batchGet?names=projects/cloudssh-demo/services/run.googleapis.com&names=projects/cloudssh-demo/services/secretmanager.googleapis.com",
			"DISABLED",
			[]any{"services", 1, "state"},
		},
		{"policy", "/v2" + project + "/policies/run.allowedIngress:getEffectivePolicy", "internal", []any{"spec", "rules", 0, "values", "allowedValues", 0}},
		{"no policy", "/v2" + project + "/policies/run.allowedVPCEgress:getEffectivePolicy", true, []any{"spec", "rules", 0, "allowAll"}},
		{"repository", "/v1" + project + "/locations/us-central1/repositories/demo", "DOCKER", []any{"format"}},
		{"default repository policy", "/v1" + project + "/locations/us-central1/repositories/demo:getIamPolicy", "ACAB", []any{"etag"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, answer := ask(t, s, "", http.MethodGet, test.path, "")
			if got := at(answer, test.at...); code != http.StatusOK || got != test.want {
				t.Errorf("%d %v, want %v", code, answer, test.want)
			}
			code, answer = ask(t, s, "stranger@example.com", http.MethodGet, test.path, "")
			if code != http.StatusForbidden || at(answer, "error", "status") != "PERMISSION_DENIED" {
				t.Errorf("a stranger: %d %v", code, answer)
			}
		})
	}
	code, answer := ask(t, s, "", http.MethodGet, "/v1"+project+"/secrets/password", "")
	if code != http.StatusForbidden || at(answer, "error", "details", 0, "reason") != "SERVICE_DISABLED" {
		t.Errorf("a disabled API: %d %v", code, answer)
	}
	enable := "/v1" + project + "/services/secretmanager.googleapis.com:enable"
	if code, answer := ask(t, s, "stranger@example.com", http.MethodPost, enable, ""); code != http.StatusForbidden {
		t.Errorf("a stranger enables: %d %v", code, answer)
	}
	if code, answer := ask(t, s, "", http.MethodPost, enable, "{}"); code != http.StatusOK || at(answer, "response", "service", "state") != "ENABLED" {
		t.Errorf("enabling: %d %v", code, answer)
	}
	if code, answer := ask(t, s, "", http.MethodGet, "/v1"+project+"/secrets/password", ""); code != http.StatusNotFound {
		t.Errorf("an API that was enabled: %d %v", code, answer)
	}
	if code, _ := ask(t, s, "", http.MethodGet, "/v1"+project+"/services:batchGet?names=run.googleapis.com", ""); code != http.StatusBadRequest {
		t.Errorf("a bad name: %d", code)
	}
}

// Permissions are tested where they are granted: on the project and on what has a policy of its own.
func TestGrants(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) {
		o.DenyPush = func(repo string) bool { return repo == "closed" }
		o.Secret = func(_ context.Context, name, version string) ([]byte, error) {
			if name == "password" && version == "latest" {
				return []byte("x"), nil
			}
			return nil, fs.ErrNotExist
		}
	})
	const alice, runtime = "alice@example.com", "runtime@cloudssh-demo.iam.gserviceaccount.com"
	const project = "/v1/projects/cloudssh-demo"
	s.Grant(alice, "roles/run.developer")
	has := func(path, permission string) bool {
		t.Helper()
		code, answer := ask(t, s, alice, http.MethodPost, path+":testIamPermissions", `{"permissions":["`+permission+`","no.such.permission"]}`)
		if code != http.StatusOK || at(answer, "permissions", 1) != nil {
			t.Fatalf("%s: %d %v", path, code, answer)
		}
		return at(answer, "permissions", 0) == permission
	}
	if !has(project, "run.services.create") || !has("/v3/projects/cloudssh-demo", "run.routes.invoke") || has(project, "run.services.setIamPolicy") {
		t.Error("a developer's permissions are wrong")
	}
	for path, grant := range map[string]struct{ permission, role string }{
		project: {"serviceusage.services.get", "roles/serviceusage.serviceUsageViewer"},
		"/v1/projects/-/serviceAccounts/" + runtime:          {"iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"},
		project + "/locations/us-central1/repositories/demo": {"artifactregistry.repositories.uploadArtifacts", "roles/artifactregistry.writer"},
		project + "/secrets/password":                        {"secretmanager.versions.access", "roles/secretmanager.secretAccessor"},
	} {
		if has(path, grant.permission) {
			t.Errorf("%s: has %s at once", path, grant.permission)
		}
		method := http.MethodPost
		if strings.Contains(path, "/repositories/") || strings.Contains(path, "/secrets/") {
			method = http.MethodGet
		}
		code, policy := ask(t, s, "", method, path+":getIamPolicy", "")
		if code != http.StatusOK {
			t.Fatalf("%s: %d %v", path, code, policy)
		}
		bindings, _ := policy["bindings"].([]any)
		policy["bindings"] = append(bindings, map[string]any{"role": grant.role, "members": []string{"user:" + alice}})
		body, err := json.Marshal(map[string]any{"policy": policy})
		if err != nil {
			t.Fatal(err)
		}
		if code, answer := ask(t, s, alice, http.MethodPost, path+":setIamPolicy", string(body)); code != http.StatusForbidden {
			t.Errorf("%s: a developer grants: %d %v", path, code, answer)
		}
		if code, answer := ask(t, s, "", http.MethodPost, path+":setIamPolicy", string(body)); code != http.StatusOK {
			t.Fatalf("%s: %d %v", path, code, answer)
		}
		if !has(path, grant.permission) {
			t.Errorf("%s: has no %s", path, grant.permission)
		}
		if code, answer := ask(t, s, "", http.MethodPost, path+":setIamPolicy", string(body)); code != http.StatusConflict {
			t.Errorf("%s: a stale etag: %d %v", path, code, answer)
		}
	}
	if has(project+"/locations/us-central1/repositories/closed", "artifactregistry.repositories.uploadArtifacts") {
		t.Error("the fault is not seen")
	}
	// The account that alice may act as is that one only.
	for account, want := range map[string]codes.Code{runtime: codes.OK, "": codes.PermissionDenied} {
		svc := service(s, "demo/web")
		svc.Template.ServiceAccount = account
		_, err := as(t, s, alice).CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "a", Service: svc, ValidateOnly: true})
		if status.Code(err) != want {
			t.Errorf("acting as %q: %v", account, err)
		}
	}
	for path, want := range map[string]int{"/secrets/password": 200, "/secrets/password/versions/latest": 200, "/secrets/password/versions/9": 404, "/secrets/none": 404} {
		if code, answer := ask(t, s, "", http.MethodGet, project+path, ""); code != want {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
}

// Nothing of Cloud Run answers in a project that has not enabled it.
func TestDisabledRun(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *emulator.Options) { o.DisabledAPIs = []string{"run.googleapis.com"} })
	_, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/x"})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "Cloud Run Admin API has not been used in project ") {
		t.Errorf("gRPC: %v", err)
	}
	for _, path := range []string{"/v2/" + parent + "/services", "/v1/" + parent + "/services", "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo/services"} {
		if code, answer := ask(t, s, "", http.MethodGet, path, ""); code != http.StatusForbidden || at(answer, "error", "details", 0, "reason") != "SERVICE_DISABLED" {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
}
