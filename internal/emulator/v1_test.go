package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

const (
	v1Services = "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo/services"
	v1Jobs     = "/apis/run.googleapis.com/v1/namespaces/cloudssh-demo/jobs"
)

// knativeDo sends a request in gcloud's dialect to a region's endpoint, and reads the answer.
func knativeDo[T any](t *testing.T, s *emulator.Server, want int, method, path string, body any) *T {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := body.(string); ok {
		raw = []byte(text)
	}
	code, answer := do(t, s, method, path, string(raw), "Host", "us-central1-run.localhost")
	if code != want {
		t.Fatalf("%s %s: %d %s, want %d", method, path, code, answer, want)
	}
	into := new(T)
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		t.Fatalf("%s %s answered %s: %v", method, path, answer, err)
	}
	return into
}

// settled waits for the operation that a write's answer names.
func settled(t *testing.T, s *emulator.Server, operation string) map[string]any {
	t.Helper()
	answer := *knativeDo[map[string]any](t, s, 200, "POST", "/v1/"+parent+"/operations/"+operation+":wait", map[string]string{"timeout": "60s"})
	if answer["done"] != true {
		t.Fatalf("the operation goes on: %v", answer)
	}
	response, _ := answer["response"].(map[string]any)
	return response
}

const operationNote = "run.googleapis.com/operation-id"

func v1Service(s *emulator.Server, name, repo string) *knative.Service {
	return &knative.Service{
		ApiVersion: "serving.knative.dev/v1", Kind: "Service", Metadata: &knative.ObjectMeta{Name: name, Namespace: "cloudssh-demo"},
		Spec: &knative.ServiceSpec{Template: &knative.RevisionTemplate{
			Spec: &knative.RevisionSpec{Containers: []*knative.Container{{Image: s.RegistryAddr + "/" + repo}}},
		}},
	}
}

// TestV1Services: create, read, replace and delete, by whoever writes Knative's words.
func TestV1Services(t *testing.T) {
	t.Parallel()
	s := start(t)
	if checked := knativeDo[knative.Service](t, s, 200, "POST", v1Services+"?dryRun=all", v1Service(s, "app", "demo/web")); checked.Metadata.Name != "app" {
		t.Errorf("checking answered %+v", checked.Metadata)
	}
	knativeDo[any](t, s, 404, "GET", v1Services+"/app", nil)
	made := knativeDo[knative.Service](t, s, 200, "POST", v1Services, v1Service(s, "app", "demo/web"))
	if done := settled(t, s, made.Metadata.Annotations[operationNote]); done["kind"] != "Service" {
		t.Errorf("the operation's response is %v", done)
	}
	knativeDo[any](t, s, 409, "POST", v1Services, v1Service(s, "app", "demo/web"))
	now := knativeDo[knative.Service](t, s, 200, "GET", v1Services+"/app", nil)
	if now.Status.Conditions[0].Status != "True" || now.Status.LatestReadyRevisionName == "" || now.Metadata.Annotations[operationNote] != "" {
		t.Errorf("service %+v, status %+v", now.Metadata, now.Status)
	}
	now.Spec.Template.Spec.Containers[0].Env = []*knative.EnvVar{{Name: "A", Value: "1"}}
	now.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = 9000
	changed := knativeDo[knative.Service](t, s, 200, "PUT", v1Services+"/app", now)
	settled(t, s, changed.Metadata.Annotations[operationNote])
	if p := changed.Spec.Template.Spec.Containers[0].StartupProbe; p.TcpSocket.Port != 9000 {
		t.Errorf("the platform's probe stays at port %d", p.TcpSocket.Port)
	}
	// now is of the version before.
	knativeDo[any](t, s, 409, "PUT", v1Services+"/app", now)
	rev := knativeDo[struct {
		Status struct {
			ContainerStatuses []struct{ Name, ImageDigest string }
		}
	}](t, s, 200, "GET", "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo/revisions/"+now.Status.LatestReadyRevisionName, nil)
	if all := rev.Status.ContainerStatuses; len(all) != 1 || all[0].Name != "app-1" || !strings.Contains(all[0].ImageDigest, "/demo/web@sha256:") {
		t.Errorf("containers of the first revision: %+v", all)
	}
	v2, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/app"})
	if err != nil || v2.GetGeneration() != 2 || v2.GetTemplate().GetContainers()[0].GetEnv()[0].GetValue() != "1" {
		t.Errorf("in v2: %v, %v", v2, err)
	}
	knativeDo[any](t, s, 400, "DELETE", "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo/revisions/"+changed.Status.LatestCreatedRevisionName, nil)
	knativeDo[knative.Status](t, s, 200, "DELETE", "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo/revisions/"+now.Status.LatestReadyRevisionName, nil)
	if gone := knativeDo[knative.Status](t, s, 200, "DELETE", v1Services+"/app", nil); gone.Status != "Success" {
		t.Errorf("deleting answered %+v", gone)
	}
}

// TestV1KeepsWhatItCannotSay: a write in v1 does not take away what only v2 knows.
func TestV1KeepsWhatItCannotSay(t *testing.T) {
	t.Parallel()
	s := start(t)
	svc := service(s, "demo/web")
	svc.BuildConfig = &runpb.BuildConfig{FunctionTarget: "main"}
	create(t, services(t, s), "app", svc)
	now := knativeDo[knative.Service](t, s, 200, "GET", v1Services+"/app", nil)
	now.Metadata.Labels["team"] = "a"
	knativeDo[knative.Service](t, s, 200, "PUT", v1Services+"/app", now)
	v2, err := services(t, s).GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/app"})
	if err != nil || v2.GetBuildConfig().GetFunctionTarget() != "main" || v2.GetLabels()["team"] != "a" {
		t.Errorf("in v2: %v, %v", v2, err)
	}
	if v2.GetLatestCreatedRevision() != v2.GetLatestReadyRevision() || !strings.Contains(v2.GetLatestReadyRevision(), "app-00001-") {
		t.Errorf("a label made the revision %s", v2.GetLatestCreatedRevision())
	}
}

// TestV1FailedDeploy: the operation answers with the service, whose conditions say what failed.
func TestV1FailedDeploy(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := knativeDo[knative.Service](t, s, 200, "POST", v1Services, v1Service(s, "app", "demo/crash"))
	done := settled(t, s, made.Metadata.Annotations[operationNote])
	if text := fmt.Sprint(done["status"]); !strings.Contains(text, "is not ready and cannot serve traffic") || !strings.Contains(text, "HealthCheckContainerError") {
		t.Errorf("status %s", text)
	}
}

// TestV1Refusals: what is refused, and under which name.
func TestV1Refusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	type change = func(*knative.Service)
	type box = *knative.Container
	in := func(f func(box)) change { return func(k *knative.Service) { f(k.Spec.Template.Spec.Containers[0]) } }
	note := func(key, value string) change {
		return func(k *knative.Service) { k.Metadata.Annotations = map[string]string{key: value} }
	}
	noteBelow := func(key, value string) change {
		return func(k *knative.Service) {
			k.Spec.Template.Metadata = &knative.ObjectMeta{Annotations: map[string]string{key: value}}
		}
	}
	half := []*knative.TrafficTarget{{LatestRevision: true, Percent: 50}}
	little := &knative.ResourceRequirements{Limits: map[string]string{"cpu": "4", "memory": "512Mi"}}
	const box0 = "spec.template.spec.containers[0]."
	for _, test := range []struct {
		field  string
		change change
	}{
		{"metadata.name", func(k *knative.Service) { k.Metadata.Name = "App" }},
		{"metadata.namespace", func(k *knative.Service) { k.Metadata.Namespace = "other" }},
		{"kind", func(k *knative.Service) { k.Kind = "Job" }},
		{"spec.template.spec", func(k *knative.Service) { k.Spec = nil }},
		{"spec.template.spec.timeoutSeconds", func(k *knative.Service) { k.Spec.Template.Spec.TimeoutSeconds = 1 << 20 }},
		{"spec.template.spec.containerConcurrency", func(k *knative.Service) { k.Spec.Template.Spec.ContainerConcurrency = 1 << 40 }},
		{"spec.traffic", func(k *knative.Service) { k.Spec.Traffic = half }},
		{"metadata.labels", func(k *knative.Service) { k.Metadata.Labels = map[string]string{"A": "b"} }},
		{"metadata.annotations[run.googleapis.com/ingress]", note("run.googleapis.com/ingress", "some")},
		{"metadata.annotations[run.googleapis.com/newest]", note("run.googleapis.com/newest", "x")},
		{"metadata.annotations[run.googleapis.com/minScale]", note("run.googleapis.com/minScale", "few")},
		{"metadata.annotations[run.googleapis.com/custom-audiences]", note("run.googleapis.com/custom-audiences", "[")},
		{"spec.template.metadata.annotations[autoscaling.knative.dev/x]", noteBelow("autoscaling.knative.dev/x", "1")},
		{"spec.template.metadata.annotations[run.googleapis.com/cpu-throttling]", noteBelow("run.googleapis.com/cpu-throttling", "maybe")},
		{box0 + "env", in(func(c box) { c.Env = []*knative.EnvVar{{Name: "PORT", Value: "1"}} })},
		{box0 + "envFrom", in(func(c box) { c.EnvFrom = []*knative.EnvFromSource{{}} })},
		{box0 + "resources.limits.memory", in(func(c box) { c.Resources = little })},
		{box0 + "volumeMounts[0].name", in(func(c box) { c.VolumeMounts = []*knative.VolumeMount{{Name: "none", MountPath: "/x"}} })},
		{box0 + "livenessProbe.exec", in(func(c box) { c.LivenessProbe = &knative.Probe{Exec: &knative.ExecAction{}} })},
	} {
		t.Run(test.field, func(t *testing.T) {
			k := v1Service(s, "app", "demo/web")
			test.change(k)
			answer := knativeDo[struct{ Error errorAnswer }](t, s, 400, "POST", v1Services, k).Error
			if !strings.Contains(answer.Message, test.field+": ") || len(answer.Details) == 0 || answer.Details[0].FieldViolations[0].Field != test.field {
				t.Errorf("refused with %+v", answer)
			}
		})
	}
	for body, want := range map[string]string{
		`{"spec":{"templat":{}}}`: `Unknown name "templat": Cannot find field.`, `{`: "Invalid JSON payload received.",
	} {
		if answer := knativeDo[struct{ Error errorAnswer }](t, s, 400, "POST", v1Services, body).Error; !strings.Contains(answer.Message, want) {
			t.Errorf("%s: %+v", body, answer)
		}
	}
}

// errorAnswer is what of an error's body these tests look at.
type errorAnswer struct {
	Message string
	Details []struct {
		FieldViolations []struct{ Field, Description string }
	}
}

// TestV1Regions: the endpoint's host names the region.
func TestV1Regions(t *testing.T) {
	t.Parallel()
	s := start(t)
	body, err := json.Marshal(v1Service(s, "app", "demo/web"))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"run.localhost": 400, "mars-run.localhost": http.StatusNotFound, "us-central1-evil.example": http.StatusMisdirectedRequest,
		"us-central1-localhost":      http.StatusMisdirectedRequest, // no name below localhost: whoever answers for it may be anybody
		"europe-west1-run.localhost": 200, "us-east1-run.googleapis.com": 200,
	} {
		if code, answer := do(t, s, "POST", v1Services, string(body), "Host", host+":8085"); code != want {
			t.Errorf("%s: %d %s, want %d", host, code, answer, want)
		}
	}
	for host, want := range map[string]int{"run.localhost": 2, "europe-west1-run.localhost": 1, "us-central1-run.localhost": 0} {
		var list knative.ListServicesResponse
		if _, answer := do(t, s, "GET", v1Services, "", "Host", host); json.Unmarshal([]byte(answer), &list) != nil || len(list.Items) != want {
			t.Errorf("%s: %s, want %d services", host, answer, want)
		}
	}
}

// TestV1Jobs: create, run, read, replace and delete.
func TestV1Jobs(t *testing.T) {
	t.Parallel()
	s := start(t)
	const spec = `{"apiVersion":"run.googleapis.com/v1","kind":"Job","metadata":{"name":"nightly"},"spec":{"template":{"spec":{"taskCount":2,
		"template":{"spec":{"maxRetries":%s,"timeoutSeconds":"60","containers":[{"image":"%s/demo/crash"}]}}}}}}`
	knativeDo[knative.Job](t, s, 200, "POST", v1Jobs, fmt.Sprintf(spec, "0", s.RegistryAddr))
	knativeDo[any](t, s, 409, "POST", v1Jobs, fmt.Sprintf(spec, "0", s.RegistryAddr))
	made := knativeDo[knative.Job](t, s, 200, "GET", v1Jobs+"/nightly", nil)
	if task := made.Spec.Template.Spec.Template.Spec; task.MaxRetries != 0 || task.TimeoutSeconds != 60 || made.Spec.Template.Spec.TaskCount != 2 {
		t.Errorf("job %+v", task)
	}
	if other := knativeDo[knative.Job](t, s, 200, "POST", v1Jobs+"?dryRun=all", strings.Replace(
		strings.Replace(fmt.Sprintf(spec, "0", s.RegistryAddr), `"maxRetries":0,`, "", 1), "nightly", "other", 1)); other.Spec.Template.Spec.Template.Spec.MaxRetries != 3 {
		t.Errorf("without a number of retries: %+v", other.Spec.Template.Spec.Template.Spec)
	}
	ran := knativeDo[knative.Execution](t, s, 200, "POST", v1Jobs+"/nightly:run", `{"overrides":{"taskCount":1,"containerOverrides":[{"env":[{"name":"A","value":"1"}]}]}}`)
	if ran.Spec.TaskCount != 1 || ran.Metadata.Labels["run.googleapis.com/job"] != "nightly" || ran.Spec.Template.Spec.Containers[0].Env[0].Value != "1" {
		t.Errorf("execution %+v %+v", ran.Metadata, ran.Spec)
	}
	const base = "/apis/run.googleapis.com/v1/namespaces/cloudssh-demo/"
	for kind, selector := range map[string]string{"executions": "run.googleapis.com%2Fjob=nightly", "tasks": "run.googleapis.com%2Fexecution=" + ran.Metadata.Name} {
		list := knativeDo[struct {
			Items []struct{ Metadata knative.ObjectMeta }
		}](t, s, 200, "GET", base+kind+"?labelSelector="+selector, nil)
		if len(list.Items) != 1 {
			t.Fatalf("%s: %+v", kind, list)
		}
		knativeDo[any](t, s, 200, "GET", base+kind+"/"+list.Items[0].Metadata.Name, nil)
		knativeDo[any](t, s, 404, "GET", base+kind+"/none", nil)
	}
	knativeDo[knative.Status](t, s, 200, "DELETE", base+"executions/"+ran.Metadata.Name, nil)
	now := knativeDo[knative.Job](t, s, 200, "GET", v1Jobs+"/nightly", nil)
	now.Spec.Template.Spec.Template.Spec.Containers[0].Args = []string{"-x"}
	if next := knativeDo[knative.Job](t, s, 200, "PUT", v1Jobs+"/nightly", now); next.Metadata.Generation != 2 {
		t.Errorf("replaced: %+v", next.Metadata)
	}
	knativeDo[any](t, s, 409, "PUT", v1Jobs+"/nightly", now)
	knativeDo[knative.Status](t, s, 200, "DELETE", v1Jobs+"/nightly", nil)
}

// TestV1WithoutPermission: who may do nothing learns nothing, and changes nothing.
func TestV1WithoutPermission(t *testing.T) {
	t.Parallel()
	s := start(t)
	create(t, services(t, s), "app", service(s, "demo/web"))
	token, _ := s.Issuer().AccessToken("nobody@example.com")
	body, err := json.Marshal(v1Service(s, "app", "demo/web"))
	if err != nil {
		t.Fatal(err)
	}
	const runs, serves = "/apis/run.googleapis.com/v1/namespaces/cloudssh-demo", "/apis/serving.knative.dev/v1/namespaces/cloudssh-demo"
	job := `{"metadata":{"name":"j"},"spec":{"template":{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}}}`
	for request, text := range map[string]string{
		"POST " + v1Services: string(body), "PUT " + v1Services + "/app": string(body), "GET " + v1Services: "", "GET " + v1Services + "/app": "",
		"GET " + v1Services + "/none": "", "DELETE " + v1Services + "/app": "", "DELETE " + v1Services + "/none": "",
		"GET " + serves + "/revisions": "", "GET " + serves + "/revisions/none": "", "DELETE " + serves + "/revisions/none": "",
		"POST " + v1Jobs: job, "PUT " + v1Jobs + "/j": strings.Replace(job, "x", "y", 1), "GET " + v1Jobs: "", "GET " + v1Jobs + "/none": "",
		"DELETE " + v1Jobs + "/none": "", "POST " + v1Jobs + "/none:run": "",
		"GET " + runs + "/executions": "", "GET " + runs + "/executions/none": "", "DELETE " + runs + "/executions/none": "",
		"POST " + runs + "/executions/none:cancel": "", "GET " + runs + "/tasks": "", "GET " + runs + "/tasks/none": "",
		"POST /v1/" + parent + "/services/app:setIamPolicy": `{"policy":{}}`, "GET /v1/" + parent + "/services/app:getIamPolicy": "",
		"GET /v1/" + parent + "/operations/none": "", "POST /v1/" + parent + "/operations/none:wait": "{}",
	} {
		method, path, _ := strings.Cut(request, " ")
		code, answer := do(t, s, method, path, text, "Host", "us-central1-run.localhost", "Authorization", "Bearer "+token)
		if code != http.StatusForbidden || !strings.Contains(answer, "PERMISSION_DENIED") {
			t.Errorf("%s: %d %s", request, code, answer)
		}
		if code, answer := do(t, s, method, path, text, "Host", "us-central1-run.localhost", "Authorization", "Bearer nonsense"); code != http.StatusUnauthorized {
			t.Errorf("%s with a bad token: %d %s", request, code, answer)
		}
	}
}
