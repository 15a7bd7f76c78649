package emulator_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
	knative "google.golang.org/api/run/v1"
	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// do sends a REST request and returns status and body.
func do(t *testing.T, s *emulator.Server, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	client := s.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestRESTErrors(t *testing.T) {
	t.Parallel()
	s := start(t)
	const base = "/v2/" + parent + "/services"
	for name, test := range map[string]struct {
		method, path, body string
		code               int
		status, message    string
	}{
		"unknown name": {
			"POST", base + "?serviceId=a", `{"template":{"containers":[{"image":"x","imagee":"y"}]},"foo":1}`, 400, "INVALID_ARGUMENT",
			"Invalid JSON payload received. Unknown name \"foo\" at 'service': Cannot find field.\n" +
				"Invalid JSON payload received. Unknown name \"imagee\" at 'service.template.containers[0]': Cannot find field.",
		},
		"unknown parameter": {
			"GET", base + "?pageSiz=1", "", 400, "INVALID_ARGUMENT", `Unknown name "pageSiz": Cannot bind query parameter.`,
		},
		"bad parameter": {"GET", base + "?pageSize=x", "", 400, "INVALID_ARGUMENT", `Invalid value at 'page_size'`},
		"no JSON":       {"POST", base + "?serviceId=a", `{"template"`, 400, "INVALID_ARGUMENT", "Invalid JSON payload received."},
		"two values":    {"POST", base + "?serviceId=a", `{} {}`, 400, "INVALID_ARGUMENT", "Invalid JSON payload received."},
		"wrong type":    {"POST", base + "?serviceId=a", `{"template":{"timeout":5}}`, 400, "INVALID_ARGUMENT", "Invalid JSON payload received."},
		"bad service":   {"POST", base + "?serviceId=A", `{}`, 400, "INVALID_ARGUMENT", "service_id"},
		"no service": {
			"GET", base + "/nope", "", 404, "NOT_FOUND",
			"Resource 'nope' of kind 'SERVICE' in region 'us-central1' in project 'cloudssh-demo' does not exist.",
		},
		"no region":     {"GET", "/v2/projects/p/locations/mars/services", "", 403, "PERMISSION_DENIED", "Permission denied on 'locations/mars' (or it may not exist)."},
		"bad mask":      {"PATCH", base + "/nope?updateMask=x", `{}`, 404, "NOT_FOUND", "nope"},
		"cancel":        {"GET", "/v2/" + parent + "/operations/x", "", 404, "NOT_FOUND", "Operation"},
		"a bad token":   {"GET", base, "", 401, "UNAUTHENTICATED", "invalid authentication credentials"},
		"unknown label": {"GET", "/v1/projects/p/locations/-/services?labelSelector=a+b", "", 400, "INVALID_ARGUMENT", "labelSelector"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.code == 401 {
				headers = []string{"Authorization", "Bearer nonsense"}
			}
			code, body := do(t, s, test.method, test.path, test.body, headers...)
			var envelope struct {
				Error struct {
					Code            int
					Message, Status string
				}
			}
			if err := json.Unmarshal([]byte(body), &envelope); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			e := envelope.Error
			if code != test.code || e.Code != test.code || e.Status != test.status || !strings.Contains(e.Message, test.message) {
				t.Errorf("got %d %+v", code, e)
			}
		})
	}
}

func TestRESTDialect(t *testing.T) {
	t.Parallel()
	s := start(t)
	create(t, services(t, s), "hello", service(s, "demo/web"))
	const path = "/v2/" + parent + "/services/hello"

	_, names := do(t, s, "GET", path, "")
	_, numbers := do(t, s, "GET", path+"?$alt=json;enum-encoding=int", "")
	_, escaped := do(t, s, "GET", path+"?%24alt=json%3Benum-encoding%3Dint", "")
	if !strings.Contains(names, `"CONDITION_SUCCEEDED"`) || strings.Contains(escaped, "CONDITION_SUCCEEDED") {
		t.Errorf("enums by name:\n%s\nby number:\n%s%s", names, numbers, escaped)
	}

	code, body := do(t, s, "PATCH", path+"?updateMask=description,template.max_instance_request_concurrency",
		`{"description":"new","template":{"maxInstanceRequestConcurrency":3}}`)
	if code != http.StatusOK {
		t.Fatalf("patching: %d %s", code, body)
	}
	var op struct{ Name string }
	if err := json.Unmarshal([]byte(body), &op); err != nil {
		t.Fatal(err)
	}
	code, body = do(t, s, "POST", "/v2/"+op.Name+":wait", `{"timeout":"60s"}`)
	if code != http.StatusOK || !strings.Contains(strings.ReplaceAll(body, " ", ""), `"done":true`) || !strings.Contains(body, `"new"`) {
		t.Errorf("waiting: %d %s", code, body)
	}
	for _, page := range []string{"/", "/v3/x", "/v2/" + parent + "/nothing"} {
		if code, body := do(t, s, "GET", page, ""); code != http.StatusNotFound || !strings.Contains(body, "That’s an error") {
			t.Errorf("%s: %d %s", page, code, body)
		}
	}
}

// TestPagesCannotReachTheAPI: what may be done without credentials must not be done by a web page in the developer's browser.
func TestPagesCannotReachTheAPI(t *testing.T) {
	t.Parallel()
	s := start(t)
	const path = "/v2/" + parent + "/services"
	for name, headers := range map[string][]string{
		"origin":    {"Origin", "https://evil.example"},
		"fetch":     {"Sec-Fetch-Site", "cross-site"},
		"rebinding": {"Host", "evil.example:8085"},
	} {
		if code, body := do(t, s, "POST", path+"?serviceId=a", `{}`, headers...); code != http.StatusForbidden && code != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if code, _ := do(t, s, "GET", path, "", "Host", "run.googleapis.com"); code != http.StatusOK {
		t.Errorf("the API's own name: %d", code)
	}
}

// TestPagesCannotReachTheOtherListeners: what is pushed to the registry runs here, and tokens are the owner's.
func TestPagesCannotReachTheOtherListeners(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, test := range map[string]struct {
		address, method, path string
		headers               http.Header
		host                  string
		want                  int
	}{
		"push from a page":   {s.RegistryAddr, "POST", "/v2/demo/web/blobs/uploads/", http.Header{"Origin": {"https://evil.example"}}, "", 403},
		"push by rebinding":  {s.RegistryAddr, "POST", "/v2/demo/web/blobs/uploads/", nil, "evil.example:8087", 421},
		"push":               {s.RegistryAddr, "POST", "/v2/demo/web/blobs/uploads/", nil, "localhost:8087", 202},
		"token by rebinding": {s.MetadataAddr, "GET", "/computeMetadata/v1/project/project-id", http.Header{"Metadata-Flavor": {"Google"}}, "evil.example:8086", 421},
		"metadata":           {s.MetadataAddr, "GET", "/computeMetadata/v1/project/project-id", http.Header{"Metadata-Flavor": {"Google"}}, "metadata.google.internal", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+test.address+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(req.Header, test.headers)
		req.Host = test.host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != test.want {
			t.Errorf("%s: %s, %v; want %d", name, resp.Status, err, test.want)
		}
	}
}

func TestV1(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := services(t, s)
	for id, labels := range map[string]map[string]string{"one": {"cloudssh": "twin"}, "two": nil, "three": {"cloudssh": "no"}} {
		svc := service(s, "demo/web")
		svc.Labels = labels
		create(t, c, id, svc)
	}
	other := service(s, "demo/web")
	other.Labels = map[string]string{"cloudssh": "twin"}
	op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: "projects/cloudssh-demo/locations/europe-west1", ServiceId: "four", Service: other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, err := knative.NewService(t.Context(), restOptions(s)...)
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]int{"": 4, "cloudssh=twin": 2, "cloudssh": 3, "!cloudssh": 1, "cloudssh in (twin, no)": 3, "cloudssh!=twin": 2} {
		for _, list := range []func(...googleapi.CallOption) (*knative.ListServicesResponse, error){
			api.Projects.Locations.Services.List("projects/cloudssh-demo/locations/-").LabelSelector(selector).Do,
			api.Namespaces.Services.List("namespaces/cloudssh-demo").LabelSelector(selector).Do,
		} {
			got, err := list()
			if err != nil || len(got.Items) != want {
				t.Errorf("selector %q: %d services, want %d (%v)", selector, len(got.Items), want, err)
			}
		}
	}
	_, raw := do(t, s, "GET", "/v1/projects/cloudssh-demo/locations/-/services?labelSelector=none%3Done", "")
	if !strings.Contains(raw, `"unreachable":[]`) || !strings.Contains(raw, `"items":[]`) {
		t.Errorf("an empty list: %s", raw)
	}
	byName, err := api.Projects.Locations.Services.List("projects/cloudssh-demo/locations/-").FieldSelector("metadata.name=four").Do()
	if err != nil || len(byName.Items) != 1 {
		t.Fatalf("by name: %v, %v", byName, err)
	}
	four := byName.Items[0]
	if four.ApiVersion != "serving.knative.dev/v1" || four.Kind != "Service" || four.Metadata.Labels["cloud.googleapis.com/location"] != "europe-west1" ||
		four.Metadata.CreationTimestamp == "" || four.Status.Conditions[0].Type != "Ready" || four.Status.Conditions[0].Status != "True" ||
		!strings.Contains(four.Status.Url, "four-") {
		t.Errorf("service %+v %+v %+v", four, four.Metadata, four.Status)
	}
	rev, err := api.Projects.Locations.Revisions.Get("projects/cloudssh-demo/locations/europe-west1/revisions/" + four.Status.LatestReadyRevisionName).Do()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(rev.Status.ImageDigest, s.RegistryAddr+"/demo/web@sha256:") || rev.Metadata.Labels["serving.knative.dev/service"] != "four" {
		t.Errorf("revision %+v %+v", rev.Metadata, rev.Status)
	}
}

func TestOperationsAndLocations(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := start(t, func(o *emulator.Options) { o.BeforeReady = holdUntil(hold) })
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ops, ctx := longrunningpb.NewOperationsClient(conn), t.Context()
	create, err := services(t, s).CreateService(ctx, &runpb.CreateServiceRequest{Parent: parent, ServiceId: "held", Service: service(s, "demo/web")})
	if err != nil {
		t.Fatal(err)
	}
	list := func(filter string) []string {
		resp, err := ops.ListOperations(ctx, &longrunningpb.ListOperationsRequest{Name: parent, Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, o := range resp.GetOperations() {
			names = append(names, o.GetName())
		}
		return names
	}
	if diff := cmp.Diff([]string{create.Name()}, list("done:false")); diff != "" {
		t.Errorf("running operations (-want +got):\n%s", diff)
	}
	o, err := ops.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: create.Name(), Timeout: durationpb.New(1)})
	if err != nil || o.GetDone() {
		t.Errorf("waiting for a nanosecond: %v, %v", o, err)
	}
	close(hold)
	if o, err = ops.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: create.Name(), Timeout: durationpb.New(2 * time.Minute)}); err != nil || !o.GetDone() || o.GetResponse() == nil {
		t.Errorf("waiting: %v, %v", o, err)
	}
	if got := list("done:true"); len(got) != 1 {
		t.Errorf("finished operations: %v", got)
	}
	if _, err := ops.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: create.Name()}); status.Code(err) != codes.Unimplemented {
		t.Errorf("cancelling: %v, want Unimplemented", err)
	}
	if _, err := ops.DeleteOperation(ctx, &longrunningpb.DeleteOperationRequest{Name: create.Name()}); err != nil {
		t.Errorf("deleting: %v", err)
	}
	if _, err := ops.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: create.Name()}); status.Code(err) != codes.NotFound {
		t.Errorf("after deletion: %v, want NotFound", err)
	}
	where, err := locationpb.NewLocationsClient(conn).ListLocations(ctx, &locationpb.ListLocationsRequest{Name: "projects/cloudssh-demo"})
	if err != nil || len(where.GetLocations()) < 40 {
		t.Errorf("locations: %v, %v", where, err)
	}
	if code, body := do(t, s, "GET", "/v1/"+parent, ""); code != http.StatusOK || !strings.Contains(body, "us-central1") {
		t.Errorf("location by REST: %d %s", code, body)
	}
}
