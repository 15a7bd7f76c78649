package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGcloud has Google's own client judge the emulator: what gcloud deploys, cloudssh enters, and what gcloud shows is
// what is there.
func TestGcloud(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gcloud"); err != nil {
		t.Skip("SKIPPED: gcloud is not installed, so that nothing tests the emulator against it: https://cloud.google.com/sdk/docs/install")
	}
	p := newPlatform(t)
	g := newGcloud(t, p)
	// Each builds on the one before.
	_ = t.Run("deploy", g.testDeploy) && t.Run("update", g.testUpdate) && t.Run("revisions", g.testRevisions) &&
		t.Run("refusals", g.testRefusals) && t.Run("policy", g.testPolicy) && t.Run("jobs", g.testJobs) && t.Run("delete", g.testDelete)
}

// gcloud is Google's client, with a configuration of its own and this platform as its endpoint.
type gcloud struct {
	p     *platform
	env   []string // more of the commands' environment
	image string   // of the sample, in the platform's registry
}

// region is the emulator's default one; gcloud puts it before the endpoint's host.
const region = "us-central1"

func newGcloud(t *testing.T, p *platform) *gcloud {
	t.Helper()
	exports := map[string]string{}
	for _, pair := range p.env {
		name, value, _ := strings.Cut(pair, "=")
		exports[name] = value
	}
	_, port, _ := strings.Cut(exports["RUN_EMULATOR_HOST"], ":")
	endpoint := "http://run.localhost:" + port + "/"
	token := filepath.Join(p.dir, "token")
	write(t, token, []byte(accessToken(t, exports["GCE_METADATA_HOST"])))
	g := &gcloud{p: p, image: exports["RUN_EMULATOR_REGISTRY"] + "/" + exports["CLOUDSDK_CORE_PROJECT"] + "/hello:latest", env: []string{
		"CLOUDSDK_CONFIG=" + filepath.Join(p.dir, "gcloud"), "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=" + token,
		"CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN=" + endpoint, "CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE=" + endpoint,
		"CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER=" + endpoint,
		"TERM=dumb", "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1", "CLOUDSDK_CORE_DISABLE_FILE_LOGGING=1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=1", "CLOUDSDK_SURVEY_DISABLE_PROMPTS=1",
	}}
	// Names below localhost mean this machine, but not every resolver knows. This file is the user's only: the machine's
	// own stays as it is.
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "hosts")
	write(t, file, append(hosts, []byte("\n127.0.0.1 run.localhost "+region+"-run.localhost\n")...))
	p.run(t, "mount", "--bind", file, "/etc/hosts").expect(t, 0)
	return g
}

// accessToken is a token of the platform's developer, from the metadata server.
func accessToken(t *testing.T, metadata string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://"+metadata+"/computeMetadata/v1/instance/service-accounts/default/token", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("reading a token from %s: %v", metadata, err)
	}
	return answer.Token
}

// run runs `gcloud run` with this environment to its end.
func (g *gcloud) run(t *testing.T, args ...string) result {
	t.Helper()
	return g.p.run(t, "env", append(append(append([]string{}, g.env...), "gcloud", "run"), args...)...)
}

// here runs `gcloud run` in the region.
func (g *gcloud) here(t *testing.T, args ...string) result {
	t.Helper()
	return g.run(t, append(args, "--region", region)...)
}

func (g *gcloud) testDeploy(t *testing.T) {
	g.here(t, "deploy", "app", "--image", g.image, "--no-allow-unauthenticated", "--set-env-vars", "GREETING=hi there").expect(t, 0).
		expectSaid(t, "has been deployed and is serving").expectSaid(t, "Service URL: http://app-")
	// What gcloud set is in the app's environment; both programs have the same one themselves.
	g.p.run(t, "env", append(append([]string{}, g.env...), g.p.program, "app", "--exec", "env")...).expect(t, 0).
		expectSaid(t, "\nGREETING=hi there\n")
	listed := g.run(t, "services", "list", "--format", "value(metadata.name,region,status.url)").expect(t, 0)
	if !strings.Contains(listed.stdout, "app\t"+region+"\thttp://app-") || strings.Contains(listed.stdout, "-ssh") {
		t.Errorf("services list printed %q", listed.stdout)
	}
	g.here(t, "services", "describe", "app").expect(t, 0).expectSaid(t, "Image:").expectSaid(t, g.image).expectSaid(t, "GREETING").
		expectSaid(t, "100% LATEST (currently app-00001-").expectSaid(t, "Type:          Default")
}

func (g *gcloud) testUpdate(t *testing.T) {
	g.here(t, "services", "update", "app", "--update-env-vars", "B=2", "--memory", "1Gi", "--port", "9090", "--no-cpu-throttling",
		"--min-instances", "1", "--execution-environment", "gen2").expect(t, 0).expectSaid(t, "revision [app-00002-")
	r := g.here(t, "services", "describe", "app", "--format", "yaml").expect(t, 0)
	// gcloud pins the image, so that an update never changes the code.
	for _, want := range []string{
		"image: " + strings.TrimSuffix(g.image, ":latest") + "@sha256:", "name: GREETING", "name: B", "memory: 1Gi", "containerPort: 9090",
		"port: 9090", "run.googleapis.com/cpu-throttling: 'false'", "autoscaling.knative.dev/minScale: '1'",
		"run.googleapis.com/execution-environment: gen2", "run.googleapis.com/client-name: gcloud", "generation: 2",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
}

func (g *gcloud) testRevisions(t *testing.T) {
	r := g.here(t, "revisions", "list", "--service", "app", "--sort-by", "metadata.name", "--format", "csv[no-heading](metadata.name,active)").expect(t, 0)
	lines := strings.Fields(r.stdout)
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "app-00001-") || !strings.HasSuffix(lines[0], ",") || !strings.HasSuffix(lines[1], ",yes") {
		t.Fatalf("revisions list printed %q", r.stdout)
	}
	old, _, _ := strings.Cut(lines[0], ",")
	g.here(t, "revisions", "describe", old).expect(t, 0).expectSaid(t, "Revision "+old).expectSaid(t, "Port:              8080")
	g.here(t, "revisions", "delete", old).expect(t, 0).expectSaid(t, "Deleted revision ["+old+"]")
}

// testRefusals: gcloud shows the platform's own words.
func (g *gcloud) testRefusals(t *testing.T) {
	g.here(t, "services", "update", "app", "--cpu", "4", "--memory", "512Mi").expect(t, 1).
		expectSaid(t, "spec.template.spec.containers[0].resources.limits.memory: ")
	g.here(t, "deploy", "broken", "--image", strings.Replace(g.image, "hello", "none", 1), "--no-allow-unauthenticated").expect(t, 1).
		expectSaid(t, "ERROR: (gcloud.run.deploy) Revision 'broken-00001-")
	g.here(t, "services", "describe", "nothing").expect(t, 1).expectSaid(t, "Cannot find service [nothing]")
}

func (g *gcloud) testPolicy(t *testing.T) {
	g.here(t, "services", "add-iam-policy-binding", "app", "--member", "user:ann@example.com", "--role", "roles/run.invoker").expect(t, 0)
	g.here(t, "services", "get-iam-policy", "app").expect(t, 0).expectSaid(t, "user:ann@example.com").expectSaid(t, "role: roles/run.invoker")
}

func (g *gcloud) testJobs(t *testing.T) {
	g.here(t, "jobs", "create", "nightly", "--image", g.image, "--command", "/bin/true", "--tasks", "2", "--max-retries", "0",
		"--set-env-vars", "A=1").expect(t, 0)
	g.here(t, "jobs", "execute", "nightly", "--wait").expect(t, 0).expectSaid(t, "has successfully completed")
	g.here(t, "jobs", "executions", "list", "--job", "nightly").expect(t, 0).expectSaid(t, "2 / 2")
	g.here(t, "jobs", "update", "nightly", "--command", "/bin/false").expect(t, 0)
	g.here(t, "jobs", "describe", "nightly").expect(t, 0).expectSaid(t, "Executed 1 time").expectSaid(t, "Command:       /bin/false").
		expectSaid(t, "Max Retries:     0")
	g.here(t, "jobs", "execute", "nightly", "--wait").expect(t, 1).expectSaid(t, "The execution failed.")
	g.run(t, "jobs", "list").expect(t, 0).expectSaid(t, "nightly")
	g.here(t, "jobs", "delete", "nightly").expect(t, 0).expectSaid(t, "Deleted job [nightly]")
}

func (g *gcloud) testDelete(t *testing.T) {
	g.here(t, "services", "delete", "app").expect(t, 0).expectSaid(t, "Deleted service [app]")
	listed := g.here(t, "services", "list", "--format", "value(metadata.name)").expect(t, 0)
	if names := strings.Fields(listed.stdout); strings.Join(names, " ") != "broken hello hello-bare tools" {
		t.Errorf("services list printed %q", listed.stdout)
	}
}
