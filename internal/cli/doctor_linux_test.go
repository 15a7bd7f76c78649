package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudssh/cloudssh/internal/emulator"
	"github.com/cloudssh/cloudssh/internal/provision"
)

// A diagnosis is what the doctor finds when one thing is missing.
type diagnosis struct {
	name    string
	options emulator.Options
	args    []string
	check   string // the only one that is not well
	verdict provision.Verdict
	role    string
	command string // in what helps
	code    int
}

func diagnoses() []diagnosis {
	without := func(missing ...string) emulator.Options {
		return emulator.Options{Faults: emulator.Faults{DenyIAM: func(_, permission, _ string) bool { return slices.Contains(missing, permission) }}}
	}
	grant := "gcloud projects add-iam-policy-binding cloudssh-demo --member serviceAccount:developer@cloudssh-demo.iam.gserviceaccount.com --role "
	return []diagnosis{
		{name: "nothing", options: emulator.Options{}, args: []string{"hello"}},
		{
			name: "create", options: without("run.services.create"), check: "permission run.services.create", verdict: provision.Failed,
			role: "roles/run.developer", command: grant + "roles/run.developer", code: 1,
		},
		{
			name: "invoke", options: without("run.routes.invoke"), check: "permission run.routes.invoke", verdict: provision.Failed,
			role: "roles/run.developer", command: grant + "roles/run.developer", code: 1,
		},
		{
			name: "actAs", options: without("iam.serviceAccounts.actAs"), check: "permission iam.serviceAccounts.actAs", verdict: provision.Failed,
			role: "roles/iam.serviceAccountUser", command: "-compute@developer.gserviceaccount.com --project cloudssh-demo --member serviceAccount:developer@", code: 1,
		},
		{
			name: "usage", options: without("serviceusage.services.get"), check: "API run.googleapis.com", verdict: provision.Unknown,
		},
		{
			name: "policy", options: emulator.Options{Policies: map[string][]string{"run.allowedIngress": {"internal"}}},
			check: "organisation policy run.allowedIngress", verdict: provision.Failed, role: "roles/orgpolicy.policyAdmin",
			command: "gcloud org-policies set-policy", code: 1,
		},
	}
}

// TestDoctor: one thing is missing, and the doctor names it, the role and the
// command, and nothing else.
func TestDoctor(t *testing.T) {
	for _, d := range diagnoses() {
		t.Run(d.name, func(t *testing.T) {
			w := emptyWorld(t, d.options)
			if len(d.args) > 0 {
				w.deploy(t, "hello", helloImage(t))
			}
			r := w.cloudssh(t, append([]string{"doctor", "--format", "json"}, d.args...)...)
			report := readReport(t, r)
			if r.code != d.code || report.OK != (d.code == 0) {
				t.Errorf("exit code %d and ok %v, want code %d; stderr:\n%s", r.code, report.OK, d.code, r.stderr)
			}
			unwell := slices.DeleteFunc(report.Checks, func(c provision.Check) bool { return c.Verdict == provision.OK })
			if d.check == "" {
				if len(unwell) > 0 {
					t.Errorf("unwell: %+v", unwell)
				}
				return
			}
			if len(unwell) != 1 || unwell[0].Name != d.check || unwell[0].Verdict != d.verdict || unwell[0].Role != d.role ||
				!strings.Contains(strings.Join(unwell[0].Commands, "\n"), d.command) {
				t.Errorf("unwell: %+v", unwell)
			}
		})
	}
}

type doctorsReport struct {
	OK     bool
	Checks []provision.Check
}

func readReport(t *testing.T, r result) doctorsReport {
	t.Helper()
	var report struct {
		OK     *bool `json:"ok"`
		Checks []struct {
			Check    string            `json:"check"`
			Verdict  provision.Verdict `json:"verdict"`
			Detail   string            `json:"detail"`
			Role     string            `json:"role"`
			Commands []string          `json:"commands"`
		} `json:"checks"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || report.OK == nil || len(report.Checks) == 0 {
		t.Fatalf("no report: %v; stdout:\n%s\nstderr:\n%s", err, r.stdout, r.stderr)
	}
	d := doctorsReport{OK: *report.OK}
	for _, c := range report.Checks {
		d.Checks = append(d.Checks, provision.Check{Name: c.Check, Verdict: c.Verdict, Detail: c.Detail, Role: c.Role, Commands: c.Commands})
	}
	return d
}

// TestDoctorOfService: the ways into one service.
func TestDoctorOfService(t *testing.T) {
	var closed atomic.Bool // the registry
	w := emptyWorld(t, emulator.Options{Faults: emulator.Faults{DenyPush: func(string) bool { return closed.Load() }}})
	w.pushAgent(t)
	w.deploy(t, "hello", helloImage(t))
	for _, tt := range []struct {
		args []string
		want []string // of the check of the injection, or of the target
		code int
	}{
		{[]string{"hello"}, []string{"ok", "layer: "}, 0},
		{[]string{"hello", "--inject", "sidecar"}, []string{"ok", "sidecar of " + w.RegistryAddr}, 0},
		{[]string{"hello", "--inject", "none"}, []string{"ok", "none: "}, 0},
		{[]string{"hello", "--inject", "sidecar", "--agent-image", w.RegistryAddr + "/demo/none"}, []string{"failed", "reading the agent's image"}, 1},
		{[]string{"missing"}, []string{"failed", "no service missing"}, 1},
		{[]string{"hello", "--container", "none"}, []string{"failed", "none"}, 1},
		{[]string{"hello", "--quiet"}, []string{"warning", "since there can be no layer"}, 0}, // the last two: closed
		{[]string{"hello", "--inject", "layer", "--quiet"}, []string{"failed", "pushing"}, 1},
	} {
		closed.Store(slices.Contains(tt.args, "--quiet"))
		r := w.cloudssh(t, append([]string{"doctor", "--format", "json"}, tt.args...)...)
		if r.code != tt.code {
			t.Errorf("%q: exit code %d, want %d; stderr:\n%s", tt.args, r.code, tt.code, r.stderr)
		}
		found := slices.ContainsFunc(readReport(t, r).Checks, func(c provision.Check) bool {
			return string(c.Verdict) == tt.want[0] && strings.Contains(c.Detail, tt.want[1])
		})
		if !found {
			t.Errorf("%q: no check is %s with %q in\n%s", tt.args, tt.want[0], tt.want[1], r.stdout)
		}
	}
	w.demandOnly(t, "hello")
}

// TestDoctorWithoutCredentials: the first thing that is missing is named, and
// the doctor does not stop with an error of its own.
func TestDoctorWithoutCredentials(t *testing.T) {
	w := emptyWorld(t, emulator.Options{})
	w.env = append(w.env, "GCE_METADATA_HOST=127.0.0.1:1", "HTTPS_PROXY=http://%zz")
	r := w.cloudssh(t, "doctor")
	if r.code != 1 {
		t.Errorf("exit code %d; stderr:\n%s", r.code, r.stderr)
	}
	for _, want := range []string{"failed   proxy: HTTPS_PROXY is no URL", "export HTTPS_PROXY=http://HOST:PORT", "failed   settings and credentials", "cloudssh emulator"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s\nstderr:\n%s", want, r.stdout, r.stderr)
		}
	}
}

// TestDiff: every field that the library knows is in the list, with a decision
// and a reason, and the text shows those that differ.
func TestDiff(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	r := w.cloudssh(t, "diff", "hello", "--format", "json", "--update-env-vars", "MARK=1")
	var report struct {
		Twin, Service, Project, Region, Inject string
		Fields                                 []provision.Field
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
		t.Fatalf("exit code %d, %v; stderr:\n%s", r.code, err, r.stderr)
	}
	if got := []string{report.Twin, report.Service, report.Project, report.Region, report.Inject}; !cmp.Equal(got, []string{"hello-ssh", "hello", w.Project, w.Region, "layer"}) {
		t.Errorf("about %q", got)
	}
	decisions := map[string]provision.Decision{}
	for _, f := range report.Fields {
		if f.Reason == "" || !slices.Contains([]provision.Decision{provision.Copy, provision.Change, provision.Drop}, f.Decision) {
			t.Errorf("%+v", f)
		}
		decisions[f.Path] = f.Decision
	}
	for path, want := range map[string]provision.Decision{
		"etag": provision.Drop, "traffic": provision.Drop, "description": provision.Change, "template.timeout": provision.Change,
		"template.service_account": provision.Copy, "template.revision": provision.Drop, "template.vpc_access.egress": provision.Copy,
	} {
		if decisions[path] != want {
			t.Errorf("%s: %q, want %q", path, decisions[path], want)
		}
	}
	if strings.Contains(r.stdout, "MARK=1") || !strings.Contains(r.stdout, ".env.MARK") {
		t.Errorf("the variable, without its value, is not in\n%s", r.stdout)
	}
	text := w.cloudssh(t, "diff", "hello").stdout
	if !strings.HasPrefix(text, "hello-ssh is hello with ") || !strings.Contains(text, "\nchange  template.timeout\n        300s -> 3600s\n") ||
		strings.Contains(text, "template.service_account") {
		t.Errorf("the text is\n%s", text)
	}
	w.demandOnly(t, "hello")
}
