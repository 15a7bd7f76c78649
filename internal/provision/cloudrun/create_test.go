package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func create(t *testing.T, c *cloud, b *Backend) *provision.Twin {
	t.Helper()
	twin, err := b.Create(t.Context(), request(), c.progress)
	if err != nil {
		t.Fatal(err)
	}
	return twin
}

// wantNames checks which services are there.
func (c *cloud) wantNames(t *testing.T, names ...string) {
	t.Helper()
	if got := c.names(); !slices.Equal(got, names) {
		t.Errorf("services %q, want %q", got, names)
	}
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
}

func wantHint(t *testing.T, err error, text string) {
	t.Helper()
	if !slices.ContainsFunc(provision.Hints(err), func(h string) bool { return strings.Contains(h, text) }) {
		t.Errorf("hints %q lack %q", provision.Hints(err), text)
	}
}

func TestCreate(t *testing.T) {
	c, b := start(t)
	var made []provision.Twin
	req := request()
	req.Made = func(tw provision.Twin) { made = append(made, tw) }
	twin, err := b.Create(t.Context(), req, c.progress)
	if err != nil {
		t.Fatal(err)
	}
	if twin.Name != "app-ssh" || twin.Source != "app" || twin.Project != "p" || twin.Region != "r" || twin.URL != "https://app-ssh.run.app" ||
		len(twin.URLs) != 2 || !twin.Ready || !twin.Mine || twin.Joined || twin.UID == "" || !twin.Expires.Equal(time.Unix(1790003600, 0)) {
		t.Errorf("twin %+v", twin)
	}
	if len(made) != 1 || made[0].Name != "app-ssh" {
		t.Errorf("told of %+v", made)
	}
	want := []string{"finding app", "reading image", "adding the agent", "creating app-ssh", "waiting for Ready"}
	if !slices.Equal(c.steps, want) {
		t.Errorf("steps %q", c.steps)
	}
	for _, d := range []string{"ConfigurationsReady: reconciling", "ConfigurationsReady: ok", "Ready: reconciling", "Ready: ok"} {
		if n := count(c.details, d); n != 1 {
			t.Errorf("told %d times of %q: %q", n, d, c.details)
		}
	}
	if c.count("Validate app-ssh") != 1 || c.count("CreateService") != 1 || c.count("DeleteService") != 0 {
		t.Errorf("calls %q", c.calls)
	}
	svc := c.services[parent+"app-ssh"]
	if svc.GetInvokerIamDisabled() {
		t.Error("the twin is public")
	}
	ref, err := name.NewDigest(mainOf(svc).GetImage())
	if err != nil || ref.Context() != c.repo {
		t.Fatalf("image %s: %v", mainOf(svc).GetImage(), err)
	}
	if _, err := remote.Head(ref); err != nil {
		t.Errorf("the image is not in the registry: %v", err)
	}
}

func count(all []string, s string) (n int) {
	for _, e := range all {
		if e == s {
			n++
		}
	}
	return n
}

func TestCreateReusesImage(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	if c.pushes != 1 {
		t.Fatalf("%d pushes for the first twin", c.pushes)
	}
	if err := b.Delete(t.Context(), *twin); err != nil {
		t.Fatal(err)
	}
	create(t, c, b)
	if c.pushes != 1 {
		t.Errorf("pushed again")
	}
}

// A tag of ours with other content is neither trusted nor overwritten.
func TestCreateDistrustsTag(t *testing.T) {
	c, b := start(t)
	twin := create(t, c, b)
	tags, err := remote.List(c.repo)
	if err != nil {
		t.Fatal(err)
	}
	tag := c.repo.Tag(tags[slices.IndexFunc(tags, func(s string) bool { return strings.HasPrefix(s, "cloudssh-") })])
	base, err := remote.Image(c.repo.Tag("v1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, base); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), *twin); err != nil {
		t.Fatal(err)
	}
	image := func() string { return mainOf(c.services[parent+"app-ssh"]).GetImage() }
	create(t, c, b)
	there, err := remote.Head(tag)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(image(), there.Digest.String()) {
		t.Error("took what the tag named")
	}
	if d, err := base.Digest(); err != nil || d != there.Digest {
		t.Errorf("the tag was overwritten: %v", err)
	}
}

func TestCreateJoins(t *testing.T) {
	c, b := start(t)
	first := create(t, c, b)
	second := create(t, c, b)
	if !second.Joined || second.Name != first.Name || second.Maker != first.Maker {
		t.Errorf("second twin %+v", second)
	}
	if n := c.count("CreateService"); n != 1 {
		t.Errorf("%d creations", n)
	}
	if !slices.Contains(c.steps, "joining app-ssh") {
		t.Errorf("steps %q", c.steps)
	}
}

func TestCreateJoinsOneThatIsComingUp(t *testing.T) {
	c, b := start(t)
	create(t, c, b)
	svc := c.services[parent+"app-ssh"]
	ready := proto.CloneOf(svc)
	svc.Reconciling = true
	looks := 0
	c.fault = func(call string) error {
		if call == "GetService app-ssh" {
			if looks++; looks == 3 {
				c.put(ready)
			}
		}
		return nil
	}
	if twin := create(t, c, b); !twin.Joined || !twin.Ready || looks < 3 {
		t.Errorf("after %d looks: %+v", looks, twin)
	}
}

// What makes a twin unusable for a request also keeps its name from it.
func TestCreateElsewhere(t *testing.T) {
	for what, change := range map[string]func(*runpb.Service, *provision.Request, *cloud){
		"no twin":          func(s *runpb.Service, _ *provision.Request, _ *cloud) { s.Labels = nil },
		"another owner's":  func(s *runpb.Service, _ *provision.Request, _ *cloud) { s.Labels["cloudssh-owner"] = "0000" },
		"another source's": func(s *runpb.Service, _ *provision.Request, _ *cloud) { s.Labels["cloudssh-source"] = "other" },
		"another key": func(_ *runpb.Service, r *provision.Request, _ *cloud) {
			r.Owner.PublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl other"
		},
		"another version": func(_ *runpb.Service, r *provision.Request, _ *cloud) { r.Version = "v9" },
		"other limits":    func(_ *runpb.Service, r *provision.Request, _ *cloud) { r.Overrides.CPU = "2" },
		"other variables": func(_ *runpb.Service, r *provision.Request, _ *cloud) {
			r.Overrides.SetEnv = map[string]string{"A": "b"}
		},
		"another revision": func(_ *runpb.Service, r *provision.Request, c *cloud) {
			c.revisions[parent+"app/revisions/app-00002"] = &runpb.Revision{
				Name: parent + "app/revisions/app-00002", Containers: c.revisions[parent+"app/revisions/app-00001"].Containers,
			}
			r.Target.Revision = "app-00002"
		},
	} {
		t.Run(what, func(t *testing.T) {
			c, b := start(t)
			create(t, c, b)
			req := request()
			change(c.services[parent+"app-ssh"], &req, c)
			twin, err := b.Create(t.Context(), req, nil)
			if err != nil {
				t.Fatal(err)
			}
			if twin.Joined || twin.Name != req.Target.AlternateName(req.Owner, 1) {
				t.Errorf("twin %+v", twin)
			}
			c.wantNames(t, "app", "app-ssh", twin.Name)
			if again, err := b.Create(t.Context(), req, nil); err != nil || !again.Joined || again.Name != twin.Name {
				t.Errorf("the second time: %+v, %v", again, err)
			}
		})
	}
}

func TestCreateReplaces(t *testing.T) {
	for what, change := range map[string]func(*runpb.Service){
		"expired": func(s *runpb.Service) { s.Labels["cloudssh-expires"] = "1789999999" },
		"broken": func(s *runpb.Service) {
			s.TerminalCondition.State = runpb.Condition_CONDITION_FAILED
		},
	} {
		t.Run(what, func(t *testing.T) {
			c, b := start(t)
			first := create(t, c, b)
			change(c.services[parent+"app-ssh"])
			second := create(t, c, b)
			if second.Joined || second.Name != "app-ssh" || second.UID == first.UID {
				t.Errorf("twin %+v", second)
			}
			if !slices.Contains(c.steps, "deleting the old app-ssh") {
				t.Errorf("steps %q", c.steps)
			}
		})
	}
}

func TestCreateWaitsForOneThatIsLeaving(t *testing.T) {
	c, b := start(t)
	first := create(t, c, b)
	c.services[parent+"app-ssh"].DeleteTime = timestamppb.Now()
	looks := 0
	c.fault = func(call string) error {
		if call == "GetService app-ssh" {
			if looks++; looks == 3 {
				c.mu.Lock()
				delete(c.services, parent+"app-ssh")
				c.mu.Unlock()
			}
		}
		return nil
	}
	if twin := create(t, c, b); twin.Joined || twin.UID == first.UID || looks < 3 {
		t.Errorf("after %d looks: %+v", looks, twin)
	}
}

// A deletion that does not come to its end costs the name, not the session.
func TestCreateBesideOneThatIsLeaving(t *testing.T) {
	c, b := start(t)
	first := create(t, c, b)
	c.services[parent+"app-ssh"].DeleteTime = timestamppb.Now()
	if twin := create(t, c, b); twin.Joined || twin.Name == first.Name {
		t.Errorf("%+v", twin)
	}
}

// Two at once: the other's twin appears between our look and our call.
func TestCreateRace(t *testing.T) {
	c, b := start(t)
	other := create(t, c, b)
	svc := c.services[parent+"app-ssh"]
	delete(c.services, parent+"app-ssh")
	c.fault = func(call string) error {
		if call == "CreateService app-ssh" {
			c.put(svc)
			return status.Error(codes.AlreadyExists, "Resource 'app-ssh' already exists.")
		}
		return nil
	}
	twin := create(t, c, b)
	if !twin.Joined || twin.Maker != other.Maker {
		t.Errorf("twin %+v", twin)
	}
	if c.count("DeleteService") != 0 {
		t.Error("deleted the other's twin")
	}
}

// The other one deletes the twin while we wait to join it.
func TestJoinedTwinVanishes(t *testing.T) {
	c, b := start(t)
	create(t, c, b)
	c.services[parent+"app-ssh"].Reconciling = true
	looks := 0
	c.fault = func(call string) error {
		if call == "GetService app-ssh" {
			if looks++; looks == 2 {
				c.mu.Lock()
				delete(c.services, parent+"app-ssh")
				c.mu.Unlock()
			}
		}
		return nil
	}
	if twin := create(t, c, b); twin.Joined {
		t.Errorf("joined what is not there: %+v", twin)
	}
	c.wantNames(t, "app", "app-ssh")
}

func TestCreateNotReady(t *testing.T) {
	c, b := start(t)
	c.logs = []string{"exec format error"}
	c.created = func(svc *runpb.Service) func() *longrunningpb.Operation {
		svc.LatestCreatedRevision = "app-ssh-00001"
		c.revisions[svc.GetName()+"/revisions/app-ssh-00001"] = &runpb.Revision{
			LogUri: "http://logs/app-ssh-00001",
			Conditions: []*runpb.Condition{
				{Type: "ResourcesAvailable", State: runpb.Condition_CONDITION_SUCCEEDED},
				{
					Type: "ContainerHealthy", State: runpb.Condition_CONDITION_FAILED, Message: "exit(1)",
					Reasons: &runpb.Condition_RevisionReason_{RevisionReason: runpb.Condition_HEALTH_CHECK_CONTAINER_ERROR},
				},
			},
		}
		return func() *longrunningpb.Operation {
			return failed(codes.FailedPrecondition, "Revision 'app-ssh-00001' is not ready and cannot serve traffic.")
		}
	}
	_, err := b.Create(t.Context(), request(), c.progress)
	wantText(t, err, "app-ssh did not become ready: Revision 'app-ssh-00001' is not ready",
		"ContainerHealthy: failed (HEALTH_CHECK_CONTAINER_ERROR): exit(1)", "| exec format error", "| from http://logs/app-ssh-00001")
	wantHint(t, err, "logs: http://logs/app-ssh-00001")
	var notReady *NotReadyError
	if !errors.As(err, &notReady) || strings.Contains(err.Error(), "ResourcesAvailable") {
		t.Errorf("error %v", err)
	}
	c.wantNames(t, "app")
	if !slices.Contains(c.steps, "waiting for Ready FAILED") || !slices.Contains(c.steps, "deleting app-ssh") {
		t.Errorf("steps %q", c.steps)
	}
}

// The operation ends well, but the service has failed.
func TestCreateFailsAfterOperation(t *testing.T) {
	c, b := start(t)
	c.created = func(svc *runpb.Service) func() *longrunningpb.Operation {
		down := proto.CloneOf(svc)
		down.Reconciling = false
		down.TerminalCondition = &runpb.Condition{Type: "Ready", State: runpb.Condition_CONDITION_FAILED, Message: "no such secret"}
		return func() *longrunningpb.Operation { return done(down) }
	}
	_, err := b.Create(t.Context(), request(), nil)
	wantText(t, err, "did not become ready: no such secret")
	c.wantNames(t, "app")
}

func TestCreateCancelled(t *testing.T) {
	c, b := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.created = func(svc *runpb.Service) func() *longrunningpb.Operation {
		return func() *longrunningpb.Operation { // it hangs, and the user gives up
			cancel()
			return pending(svc)
		}
	}
	_, err := b.Create(ctx, request(), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.wantNames(t, "app")
}

// The user gives up while the call that creates is under way.
func TestCreateCancelledDuringCall(t *testing.T) {
	c, b := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.fault = func(call string) error {
		if call == "CreateService app-ssh" {
			cancel()
		}
		return nil
	}
	_, err := b.Create(ctx, request(), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if c.count("DeleteService app-ssh") != 1 {
		t.Errorf("calls %q", c.calls)
	}
	c.wantNames(t, "app")
}

func TestCreateCancelledEarlier(t *testing.T) {
	for _, at := range []string{"GetService app", "GetRevision app-00001", "GetService app-ssh", "Validate app-ssh"} {
		t.Run(at, func(t *testing.T) {
			c, b := start(t)
			ctx, cancel := context.WithCancel(t.Context())
			c.fault = func(call string) error {
				if call == at {
					cancel()
				}
				return nil
			}
			_, err := b.Create(ctx, request(), nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if c.count("CreateService") != 0 {
				t.Error("created a twin all the same")
			}
			c.wantNames(t, "app")
		})
	}
}

// The answer to the creation is lost, but the service is there.
func TestCreateAnswerLost(t *testing.T) {
	c, b := start(t)
	c.fault = func(call string) error {
		if call == "CreateService app-ssh" {
			spec, _, err := Derive(c.services[parent+"app"], c.revisions[parent+"app/revisions/app-00001"], Spec{})
			if err != nil {
				return err
			}
			spec.Name = parent + "app-ssh"
			spec.Annotations = map[string]string{"cloudssh.dev/maker": c.maker}
			c.put(spec)
			return status.Error(codes.Unavailable, "connection reset")
		}
		return nil
	}
	req := request()
	req.Made = func(tw provision.Twin) { c.maker = tw.Maker }
	_, err := b.Create(t.Context(), req, nil)
	wantText(t, err, "creating app-ssh: connection reset")
	c.wantNames(t, "app")
}

// As above, but what is there is another's.
func TestCreateAnswerLostToAnother(t *testing.T) {
	c, b := start(t)
	create(t, c, b)
	svc := c.services[parent+"app-ssh"]
	delete(c.services, parent+"app-ssh")
	c.fault = func(call string) error {
		if call == "CreateService app-ssh" {
			c.put(svc)
			return status.Error(codes.DeadlineExceeded, "too slow")
		}
		return nil
	}
	_, err := b.Create(t.Context(), request(), nil)
	wantText(t, err, "too slow")
	c.wantNames(t, "app", "app-ssh")
}

func TestCreateCannotCleanUp(t *testing.T) {
	c, b := start(t)
	c.created = func(*runpb.Service) func() *longrunningpb.Operation {
		return func() *longrunningpb.Operation { return failed(codes.FailedPrecondition, "bad image") }
	}
	c.fault = func(call string) error {
		if strings.HasPrefix(call, "DeleteService") {
			return status.Error(codes.PermissionDenied, "Permission 'run.services.delete' denied on resource 'x' (or it may not exist).")
		}
		return nil
	}
	_, err := b.Create(t.Context(), request(), nil)
	wantText(t, err, "bad image", "deleting app-ssh after that", "run.services.delete")
	wantHint(t, err, "cloudssh cleanup --project p")
	wantHint(t, err, "gcloud run services delete app-ssh --region r --project p")
}

func TestCreateRefused(t *testing.T) {
	for at, tc := range map[string]struct {
		err   error
		texts []string
		hints []string
	}{
		"GetService app": {
			status.Error(codes.PermissionDenied, "Permission 'run.services.get' denied on resource 'namespaces/p/services/app' (or resource may not exist)."),
			[]string{"reading service app", "run.services.get"},
			[]string{"run.services.get", "gcloud projects add-iam-policy-binding p --member user:ann@example.com --role roles/run.developer"},
		},
		"GetRevision app-00001": {
			status.Error(codes.Unauthenticated, "Request had invalid authentication credentials."),
			[]string{"invalid authentication"},
			[]string{"gcloud auth login", "cloudssh demo"},
		},
		"GetService app-ssh": {status.Error(codes.Unauthenticated, "no"), []string{"reading service app-ssh: no"}, []string{"gcloud auth login"}},
		"Validate app-ssh": {
			status.Error(codes.PermissionDenied, "Permission 'iam.serviceaccounts.actAs' denied on service account sa@p.iam.gserviceaccount.com (or it may not exist)."),
			[]string{"creating app-ssh", "actAs"},
			[]string{"gcloud iam service-accounts add-iam-policy-binding sa@p.iam.gserviceaccount.com --project p --member user:ann@example.com --role roles/iam.serviceAccountUser"},
		},
		"CreateService app-ssh": {status.Error(codes.PermissionDenied, "no"), []string{"creating app-ssh: no"}, []string{"run.services.create"}},
	} {
		t.Run(at, func(t *testing.T) {
			c, b := start(t)
			c.fault = func(call string) error {
				if call == at {
					return tc.err
				}
				return nil
			}
			_, err := b.Create(t.Context(), request(), nil)
			wantText(t, err, tc.texts...)
			if strings.Contains(fmt.Sprint(err), "rpc error") {
				t.Errorf("gRPC shows: %v", err)
			}
			for _, h := range tc.hints {
				wantHint(t, err, h)
			}
			c.wantNames(t, "app")
		})
	}
}

func TestCreateRegistryRefuses(t *testing.T) {
	manifests := func(method string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") && r.Method == method }
	}
	for what, tc := range map[string]struct {
		when  func(*http.Request) bool
		code  int
		texts []string
		hint  string
	}{
		"image gone":   {func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/v1") }, 404, []string{"gone from its registry", "exporting the image of app-00001: not here"}, "cloudssh app --image IMAGE"},
		"read refused": {manifests(http.MethodGet), 403, []string{"reading image"}, "artifactregistry.repositories.downloadArtifacts, in roles/artifactregistry.reader"},
		"push refused": {func(r *http.Request) bool { return r.Method == http.MethodPost }, 403, []string{"pushing", "and a sidecar cannot bring the agent", "none is known"}, "artifactregistry.repositories.uploadArtifacts, in roles/artifactregistry.writer"},
	} {
		t.Run(what, func(t *testing.T) {
			c, b := start(t)
			c.refuse = func(r *http.Request) int {
				if tc.when(r) {
					return tc.code
				}
				return 0
			}
			_, err := b.Create(t.Context(), request(), nil)
			wantText(t, err, tc.texts...)
			wantHint(t, err, tc.hint)
			c.wantNames(t, "app")
		})
	}
}

func TestRegistryHints(t *testing.T) {
	b := &Backend{Options: Options{Project: "p", Account: "bot@p.iam.gserviceaccount.com"}}
	for image, command := range map[string]string{
		"us-docker.pkg.dev/other/repo/app:v1": "gcloud artifacts repositories add-iam-policy-binding repo --location us --project other " +
			"--member serviceAccount:bot@p.iam.gserviceaccount.com --role roles/artifactregistry.writer",
		"eu.gcr.io/other/app": "gcloud projects add-iam-policy-binding other --member serviceAccount:bot@p.iam.gserviceaccount.com --role roles/artifactregistry.writer",
		"example.com/app":     "gcloud projects add-iam-policy-binding p --member serviceAccount:bot@p.iam.gserviceaccount.com --role roles/artifactregistry.writer",
	} {
		wantHint(t, b.registryDenied(errors.New("denied"), image, "artifactregistry.repositories.uploadArtifacts"), command)
	}
}

func TestCreateBadRequests(t *testing.T) {
	_, b := start(t)
	for text, change := range map[string]func(*provision.Request){
		"has 50 characters":      func(r *provision.Request) { r.Target.Name = strings.Repeat("a", 50) },
		"reading the public key": func(r *provision.Request) { r.Owner.PublicKey = "nonsense" },
		"no revision app-00009":  func(r *provision.Request) { r.Target.Revision = "app-00009" },
		"no service ap in r":     func(r *provision.Request) { r.Target.Name = "ap" },
	} {
		req := request()
		change(&req)
		_, err := b.Create(t.Context(), req, nil)
		wantText(t, err, text)
		if strings.HasPrefix(text, "no revision") {
			wantHint(t, err, "cloudssh app --revision app-00001")
		}
	}
}

func TestCreateOfTwin(t *testing.T) {
	c, b := start(t)
	create(t, c, b)
	req := request()
	req.Target.Name = "app-ssh"
	_, err := b.Create(t.Context(), req, nil)
	wantText(t, err, "app-ssh is itself a twin, of app")
	wantHint(t, err, "cloudssh app")
}

// The lease begins when the twin is made, in whole seconds, and is never shorter than asked for.
func TestLeaseBeginsWithTheTwin(t *testing.T) {
	c, b := start(t)
	now := time.Unix(1790000000, 0)
	c.refuse = func(r *http.Request) int {
		if r.Method == http.MethodPost { // the push takes its time
			c.mu.Lock()
			now = time.Unix(1790000100, 1)
			c.mu.Unlock()
		}
		return 0
	}
	req := request()
	req.Now = func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return now
	}
	req.TTL = time.Second
	twin, err := b.Create(t.Context(), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Unix(1790000102, 0); !twin.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", twin.Expires, want)
	}
}
