package provision_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// Names of services, every length several times, some with hyphens where they hurt.
func names() []string {
	const first, rest = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789-"
	r := rand.New(rand.NewPCG(1, 2)) // reproducible
	var all []string
	for n := 1; n <= provision.MaxName; n++ {
		for range 50 {
			b := []byte{first[r.IntN(len(first))]}
			for len(b) < n {
				b = append(b, rest[r.IntN(len(rest))])
			}
			if b[n-1] == '-' {
				b[n-1] = '0'
			}
			all = append(all, string(b))
		}
		all = append(all, "a"+strings.Repeat("-", max(0, n-2))+"b")
	}
	return all
}

func TestTwinNamesAreValidAndApart(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$`)
	seen := map[string]string{}
	o := provision.Owner{Account: "a@example.com", PublicKey: "ssh-ed25519 AAAA"}
	for _, name := range names() {
		for _, kind := range []provision.Kind{provision.KindService, provision.KindJob, provision.KindWorkerPool} {
			target := provision.Target{Kind: kind, Name: name}
			if err := target.Check(); err != nil && len(name) > 1 {
				t.Fatalf("%q: %v", target, err)
			}
			for _, twin := range []string{target.TwinName(), target.AlternateName(o, 1), target.AlternateName(o, 2)} {
				if !valid.MatchString(twin) {
					t.Errorf("%q gives %q", target, twin)
				}
				if other, ok := seen[twin]; ok && other != target.String() {
					t.Errorf("%q and %q both give %q", target, other, twin)
				}
				seen[twin] = target.String()
			}
		}
		if got := (provision.Target{Name: name}).TwinName(); len(name) <= 45 && got != name+"-ssh" {
			t.Errorf("%q gives %q", name, got)
		}
	}
}

// What is called like the twin of another kind has a twin of its own.
func TestTwinNamesOfKinds(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"app", "job:app", "worker-pool:app", "app-ssh", "app-ssh-job", "app-job", "job:app-ssh", "app-ssh-pool"} {
		target, err := provision.ParseTarget(s)
		if err != nil {
			t.Fatal(err)
		}
		twin := target.TwinName()
		if other, ok := seen[twin]; ok {
			t.Errorf("%s and %s both give %s", s, other, twin)
		}
		seen[twin] = s
	}
}

func TestAlternateNames(t *testing.T) {
	a := provision.Owner{Account: "a@example.com", PublicKey: "k"}
	b := provision.Owner{Account: "b@example.com", PublicKey: "k"}
	app := provision.Target{Name: "app"}
	first := app.AlternateName(a, 1)
	if !regexp.MustCompile(`^app-ssh-[0-9a-f]{4}$`).MatchString(first) {
		t.Errorf("name %q", first)
	}
	if first != app.AlternateName(a, 1) {
		t.Error("not the same twice")
	}
	if first == app.AlternateName(b, 1) || first == app.AlternateName(a, 2) {
		t.Error("another owner or number gives the same name")
	}
	job := provision.Target{Kind: provision.KindJob, Name: "app"}.AlternateName(a, 1)
	if !regexp.MustCompile(`^app-ssh-job-[0-9a-f]{4}$`).MatchString(job) {
		t.Errorf("name %q", job)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]provision.Target{
		"app":                            {Kind: provision.KindService, Name: "app"},
		"service:app":                    {Kind: provision.KindService, Name: "app"},
		"job:app":                        {Kind: provision.KindJob, Name: "app"},
		"worker-pool:app":                {Kind: provision.KindWorkerPool, Name: "app"},
		"job:" + strings.Repeat("a", 63): {Kind: provision.KindJob, Name: strings.Repeat("a", 63)},
	} {
		got, err := provision.ParseTarget(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if got.String() != strings.TrimPrefix(text, "service:") {
			t.Errorf("%q is written %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"":                                   "no service named",
		"job:":                               "no job named",
		"pod:app":                            `"pod:app" is not SERVICE, job:NAME or worker-pool:NAME`,
		"job:App":                            `job name "App" is not valid`,
		"worker-pool:a-":                     `worker pool name "a-" is not valid`,
		"job:" + strings.Repeat("a", 64):     "Cloud Run allows 63",
		"service:" + strings.Repeat("a", 50): "Cloud Run allows 49",
	} {
		if _, err := provision.ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestCheckTarget(t *testing.T) {
	for want, target := range map[string]provision.Target{
		"job app has no revisions":                       {Kind: provision.KindJob, Name: "app", Revision: "app-00001"},
		"a job gets no traffic":                          {Kind: provision.KindJob, Name: "app", Tag: "blue"},
		"a worker pool gets no traffic":                  {Kind: provision.KindWorkerPool, Name: "app", Tag: "blue"},
		"tag blue and revision app-00001 cannot both be": {Name: "app", Tag: "blue", Revision: "app-00001"},
		`"pod" is no kind of target`:                     {Kind: "pod", Name: "app"},
	} {
		if err := target.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", target, err, want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, text := range map[string]string{
		"":                                "no service named",
		strings.Repeat("a", 50):           "has 50 characters; Cloud Run allows 49",
		"Hello":                           "not valid",
		"1a":                              "not valid",
		"a-":                              "not valid",
		"a_b":                             "not valid",
		"projects/p/locations/r/services": "not valid",
	} {
		if err := provision.CheckName(name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := provision.CheckName(strings.Repeat("a", 49)); err != nil {
		t.Error(err)
	}
}

func TestOwnerHash(t *testing.T) {
	h := provision.OwnerHash("Ann@Example.com ")
	if h != provision.OwnerHash("ann@example.com") || h == provision.OwnerHash("bob@example.com") {
		t.Error("not a hash of the account")
	}
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(h) {
		t.Errorf("no label value: %q", h)
	}
}
