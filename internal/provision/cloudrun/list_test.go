package cloudrun

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func twinListed(name, region, owner string) knService {
	l := provision.Lease{
		OwnerHash: provision.OwnerHash(owner), Account: owner, Reason: "because", Expires: time.Unix(1790000000, 0), Maker: "m",
	}
	s := listed(name, region, l.Labels("app"))
	s.Metadata.Annotations = l.Annotations()
	s.Metadata.CreationTimestamp = time.Unix(1789990000, 0)
	return s
}

func TestTwins(t *testing.T) {
	c, b := start(t)
	going := twinListed("c-ssh", "r", "ann@example.com")
	going.Metadata.DeletionTimestamp = &time.Time{}
	large := twinListed("b-ssh", "q", "bob@example.com")
	large.Metadata.Annotations[minScale] = "1"
	large.Spec.Template.Spec.Containers = make([]knContainer, 2)
	large.Spec.Template.Spec.Containers[0].Resources.Limits = map[string]string{"cpu": "2", "memory": "1Gi"}
	pages := page([]string{"far", "away"}, twinListed("a-ssh", "r", "ann@example.com"), going, large)
	var selectors []string
	c.list = func(w http.ResponseWriter, r *http.Request) {
		selectors = append(selectors, r.URL.Path+" "+r.URL.Query().Get("labelSelector"))
		pages(w, r)
	}
	var names []string
	var shape provision.Shape // of the last
	var unreachable *UnreachableError
	for tw, err := range b.Twins(t.Context()) {
		if err != nil {
			if !errors.As(err, &unreachable) {
				t.Fatal(err)
			}
			continue
		}
		names = append(names, tw.Name+" "+tw.Region)
		shape = tw.Shape
		if tw.Mine != (tw.Name == "a-ssh") || tw.Source != "app" || tw.Reason != "because" || tw.Project != "p" || tw.Created.IsZero() ||
			!tw.Expired(time.Unix(1790000001, 0)) || tw.Maker != "m" {
			t.Errorf("twin %+v", tw)
		}
	}
	if want := (provision.Shape{CPU: 3, Memory: 1.5, MinInstances: 1}); shape != want {
		t.Errorf("shape %v, want %v", shape, want)
	}
	if !slices.Equal(names, []string{"a-ssh r", "b-ssh q"}) {
		t.Errorf("twins %q", names)
	}
	if unreachable == nil || unreachable.Error() != "no answer from away, far" {
		t.Errorf("unreachable: %v", unreachable)
	}
	if len(selectors) != 3 || selectors[0] != "/v1/projects/p/locations/-/services cloudssh=twin" {
		t.Errorf("requests %q", selectors)
	}
}

func TestServices(t *testing.T) {
	c, b := start(t)
	c.list = page(nil, listed("a", "r", nil), listed("b", "q", nil), twinListed("a-ssh", "r", "x"))
	for region, want := range map[string][]string{"r": {"a"}, "": {"a", "b"}} {
		b.Region = region
		var got []string
		for s, err := range b.Services(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("region %q: %q", region, got)
		}
	}
	for range b.Services(t.Context()) {
		break // must not go on yielding
	}
}

func TestListErrors(t *testing.T) {
	for what, tc := range map[string]struct {
		code int
		body string
		text string
		hint string
	}{
		"forbidden": {
			403, `{"error":{"code":403,"message":"Permission 'run.services.list' denied","status":"PERMISSION_DENIED"}}`,
			"listing the services of p: Permission 'run.services.list' denied", "run.services.list, in roles/run.developer",
		},
		"login": {401, `<html>`, "Unauthorized", "gcloud auth login"},
		"junk":  {200, `<html>`, "reading the answer", ""},
	} {
		t.Run(what, func(t *testing.T) {
			c, b := start(t)
			c.list = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, tc.body)
			}
			for _, err := range b.Twins(t.Context()) {
				wantText(t, err, tc.text)
				if tc.hint != "" {
					wantHint(t, err, tc.hint)
				}
			}
		})
	}
}

func TestFindAcrossRegions(t *testing.T) {
	c, b := start(t)
	b.Region = ""
	services := []knService{listed("app", "r", nil), listed("twice", "r", nil), listed("twice", "q", nil), listed("apple", "q", nil)}
	c.list = page([]string{"far"}, services...)
	if twin := create(t, c, b); twin.Region != "r" {
		t.Errorf("twin %+v", twin)
	}
	req := request()
	req.Target.Name = "twice"
	_, err := b.Create(t.Context(), req, nil)
	wantText(t, err, "service twice is in several regions: q, r", "--region")
	wantHint(t, err, "cloudssh twice --region q")

	req.Target.Name = "appl"
	_, err = b.Create(t.Context(), req, nil)
	wantText(t, err, "no service appl in any region of project p (no answer from far); did you mean app or apple?")
	wantHint(t, err, "cloudssh apple")
}

func TestUnknownService(t *testing.T) {
	c, b := start(t)
	c.list = page(nil, listed("app", "r", nil), listed("helo-world", "r", nil), listed("away", "q", nil), twinListed("app-ssh", "r", "x"))
	for service, want := range map[string]string{
		"ap":          "no service ap in r of project p; did you mean app?",
		"hello-world": "did you mean helo-world?",
		"helo":        "did you mean helo-world?",
		"zzzzzzz":     "no service zzzzzzz in r of project p",
		"away":        "no service away in r of project p",
	} {
		req := request()
		req.Target.Name = service
		_, err := b.Create(t.Context(), req, nil)
		wantText(t, err, want)
		if service == "away" {
			wantHint(t, err, "cloudssh away --region q")
		}
		if service == "zzzzzzz" && strings.Contains(err.Error(), "mean") {
			t.Errorf("far-fetched: %v", err)
		}
	}
	c.list = page(nil)
	req := request()
	req.Target.Name = "any"
	_, err := b.Create(t.Context(), req, nil)
	wantText(t, err, "the project has no services")
	wantHint(t, err, "cloudssh demo")
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		d    int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"app", "app", 0}, {"abc", "acb", 2}} {
		if d := distance(tc.a, tc.b); d != tc.d {
			t.Errorf("%q to %q: %d, want %d", tc.a, tc.b, d, tc.d)
		}
	}
}

func TestRunningRevision(t *testing.T) {
	for name, tc := range map[string]struct {
		svc  *runpb.Service
		want string
	}{
		"newest ready": {&runpb.Service{LatestReadyRevision: "a", LatestCreatedRevision: "b"}, "a"},
		"never ready":  {&runpb.Service{LatestCreatedRevision: "b"}, "b"},
		"split": {&runpb.Service{LatestReadyRevision: "a", TrafficStatuses: []*runpb.TrafficTargetStatus{
			{Revision: "x", Percent: 30}, {Revision: "y", Percent: 70}, {Revision: "z"},
		}}, "y"},
		"nothing": {&runpb.Service{}, ""},
	} {
		if got := running(tc.svc); got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The image is the one that runs, not what its tag means now.
func TestPinsWhatRuns(t *testing.T) {
	for what, tc := range map[string]struct {
		status string
		moved  bool
	}{
		"image digest":       {`{"imageDigest":"x@%s"}`, false},
		"container statuses": {`{"containerStatuses":[{"name":"","imageDigest":"x@%s"}]}`, false},
		"not told":           {`{}`, true},
	} {
		t.Run(what, func(t *testing.T) {
			c, b := start(t)
			first := headOf(t, c, "v1")
			c.mu.Lock()
			rev := c.revisions[parent+"app/revisions/app-00001"]
			c.mu.Unlock()
			c.app(t) // the tag moves on
			c.revisions[rev.GetName()] = rev
			now := headOf(t, c, "v1")
			c.list = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/projects/p/locations/r/revisions/app-00001" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				_, _ = io.WriteString(w, `{"status":`+strings.ReplaceAll(tc.status, "%s", first)+`}`)
			}
			target, err := b.find(t.Context(), request().Target)
			if err != nil {
				t.Fatal(err)
			}
			images, err := b.read(t.Context(), target, request(), func(d string) { c.details = append(c.details, d) })
			if err != nil {
				t.Fatal(err)
			}
			want := first
			if tc.moved {
				want = now
			}
			if got := images.pinned[0]; !strings.HasSuffix(got, "@"+want) {
				t.Errorf("pinned %s, want %s", got, want)
			}
			if said := len(c.details) > 0; said != tc.moved {
				t.Errorf("said %q", c.details)
			}
		})
	}
}

func TestPinsSidecars(t *testing.T) {
	c, b := start(t)
	rev := c.revisions[parent+"app/revisions/app-00001"]
	rev.Containers[0].Ports = []*runpb.ContainerPort{{ContainerPort: 1}}
	rev.Containers = append(rev.Containers,
		&runpb.Container{Name: "byDigest", Image: "reg.example/x@" + testDigest},
		&runpb.Container{Name: "unreadable", Image: strings.Replace(c.repo.Tag("v1").String(), "demo", "gone", 1)})
	target, err := b.find(t.Context(), request().Target)
	if err != nil {
		t.Fatal(err)
	}
	images, err := b.read(t.Context(), target, request(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if images.main != 0 || len(images.pinned) != 2 || images.pinned[1] != "reg.example/x@"+testDigest {
		t.Errorf("main %d, pinned %v", images.main, images.pinned)
	}
}

func headOf(t *testing.T, c *cloud, tag string) string {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+c.repo.RegistryStr()+"/v2/demo/app/manifests/"+tag, nil)
	req.RequestURI = ""
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("Docker-Content-Digest")
}

func TestDelete(t *testing.T) {
	t.Run("waits and is idempotent", func(t *testing.T) {
		c, b := start(t)
		twin := create(t, c, b)
		for range 2 {
			if err := b.Delete(t.Context(), *twin); err != nil {
				t.Fatal(err)
			}
			c.wantNames(t, "app")
		}
		if n := c.count("DeleteService"); n != 1 {
			t.Errorf("%d deletions", n)
		}
	})
	t.Run("never a service", func(t *testing.T) {
		c, b := start(t)
		err := b.Delete(t.Context(), provision.Twin{Name: "app", Region: "r"})
		wantText(t, err, "service app is no twin")
		c.wantNames(t, "app")
	})
	t.Run("never a later twin", func(t *testing.T) {
		c, b := start(t)
		twin := create(t, c, b)
		for _, other := range []provision.Twin{{Lease: provision.Lease{Maker: "x"}}, {UID: "x"}} {
			other.Name, other.Region = twin.Name, twin.Region
			if err := b.Delete(t.Context(), other); err != nil {
				t.Error(err)
			}
			c.wantNames(t, "app", "app-ssh")
		}
	})
	t.Run("by name alone", func(t *testing.T) {
		c, b := start(t)
		create(t, c, b)
		if err := b.Delete(t.Context(), provision.Twin{Name: "app-ssh", Region: "r"}); err != nil {
			t.Error(err)
		}
		c.wantNames(t, "app")
	})
	t.Run("refused", func(t *testing.T) {
		c, b := start(t)
		twin := create(t, c, b)
		c.fault = func(call string) error {
			if call == "DeleteService app-ssh" {
				return status.Error(codes.PermissionDenied, "no")
			}
			return nil
		}
		err := b.Delete(t.Context(), *twin)
		wantText(t, err, "deleting app-ssh: no")
		wantHint(t, err, "run.services.delete")
	})
}

// The service changes between our look and our call: look and call again.
func TestDeleteEtagChanges(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	c.fault = func(call string) error {
		if call == "DeleteService app-ssh" && c.count("DeleteService") == 1 {
			c.mu.Lock()
			c.services[parent+"app-ssh"].Etag = "new"
			c.mu.Unlock()
		}
		return nil
	}
	if err := b.Delete(t.Context(), *twin); err != nil {
		t.Fatal(err)
	}
	c.wantNames(t, "app")
	if n := c.count("DeleteService"); n != 2 {
		t.Errorf("%d deletions", n)
	}
}

// A connection that drops while we wait is no failure.
func TestDeletePollFails(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	polls := c.count("GetOperation")
	c.fault = func(call string) error {
		if call == "GetOperation" && c.count("GetOperation") == polls+1 {
			return status.Error(codes.Unavailable, "reset")
		}
		return nil
	}
	if err := b.Delete(t.Context(), *twin); err != nil {
		t.Fatal(err)
	}
	c.wantNames(t, "app")
}

// A call whose connection drops is made again, whether or not it arrived.
func TestDeleteCallFails(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	c.fault = func(call string) error {
		if call == "DeleteService app-ssh" && c.count("DeleteService") == 1 {
			return status.Error(codes.Unavailable, "reset")
		}
		return nil
	}
	if err := b.Delete(t.Context(), *twin); err != nil {
		t.Fatal(err)
	}
	c.wantNames(t, "app")
}

func TestDeleteRefusedForEver(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	c.fault = func(call string) error {
		if call == "DeleteService app-ssh" {
			return status.Error(codes.FailedPrecondition, "something holds it")
		}
		return nil
	}
	wantText(t, b.Delete(t.Context(), *twin), "deleting app-ssh: something holds it")
}
