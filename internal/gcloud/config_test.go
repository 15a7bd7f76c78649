package gcloud

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// environment is a test's os.Getenv.
type environment map[string]string

func (e environment) get(name string) string { return e[name] }

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settings makes a configuration directory with the given files.
func settings(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

const (
	defaultConfig = "[core]\nproject = file-project\naccount = jane@example.com\n\n[compute]\nregion = europe-west1\n"
	workConfig    = "; work\n[core]\nPROJECT: work-project\n[run]\nregion=us-east1 \n[auth]\nimpersonate_service_account = sa@p.iam.gserviceaccount.com\n"
)

func TestPrecedence(t *testing.T) {
	dir := settings(t, map[string]string{
		"configurations/config_default": defaultConfig,
		"configurations/config_work":    workConfig,
	})
	type want struct{ Project, Region, Account, Impersonate, From string }
	for _, tt := range []struct {
		name  string
		flags Flags
		env   environment
		want  want
	}{
		{"files alone", Flags{}, nil, want{"file-project", "europe-west1", "jane@example.com", "", `configuration "default"`}},
		{"GOOGLE_CLOUD_PROJECT", Flags{}, environment{"GOOGLE_CLOUD_PROJECT": "lib"}, want{"lib", "europe-west1", "jane@example.com", "", "GOOGLE_CLOUD_PROJECT"}},
		{
			"CLOUDSDK before GOOGLE_CLOUD_PROJECT",
			Flags{},
			environment{"CLOUDSDK_CORE_PROJECT": "env", "GOOGLE_CLOUD_PROJECT": "lib", "CLOUDSDK_COMPUTE_REGION": "asia-east1"},
			want{"env", "asia-east1", "jane@example.com", "", "CLOUDSDK_CORE_PROJECT"},
		},
		{
			"flags first",
			Flags{Project: "flag", Region: "us-west1", Account: "joe@example.com", Impersonate: "x@y"},
			environment{"CLOUDSDK_CORE_PROJECT": "env", "CLOUDSDK_RUN_REGION": "r", "CLOUDSDK_CORE_ACCOUNT": "a", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "i"},
			want{"flag", "us-west1", "joe@example.com", "x@y", "--project"},
		},
		{
			"another configuration by flag",
			Flags{Configuration: "work"},
			environment{"CLOUDSDK_ACTIVE_CONFIG_NAME": "default"},
			want{"work-project", "us-east1", "", "sa@p.iam.gserviceaccount.com", `configuration "work"`},
		},
		{
			"another configuration by environment",
			Flags{},
			environment{"CLOUDSDK_ACTIVE_CONFIG_NAME": "work", "CLOUDSDK_COMPUTE_REGION": "loses"},
			want{"work-project", "us-east1", "", "sa@p.iam.gserviceaccount.com", `configuration "work"`},
		},
		{"no configuration", Flags{Configuration: "NONE"}, nil, want{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := environment{"CLOUDSDK_CONFIG": dir}
			for k, v := range tt.env {
				env[k] = v
			}
			c, err := Load(t.Context(), tt.flags, env.get)
			if err != nil {
				t.Fatal(err)
			}
			got := want{c.Project, c.Region, c.Account, c.ImpersonateServiceAccount, c.Source(Project)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOtherSettings(t *testing.T) {
	dir := settings(t, map[string]string{
		"active_config": "work\n",
		"configurations/config_work": "[auth]\naccess_token_file=/run/token\n[api_endpoint_overrides]\nrun=https://x/\n" +
			"[billing]\nquota_project=q\n[core]\ndisable_prompts=True\n",
	})
	c, err := Load(t.Context(), Flags{}, environment{"CLOUDSDK_CONFIG": dir}.get)
	if err != nil {
		t.Fatal(err)
	}
	if c.Configuration != "work" || c.AccessTokenFile != "/run/token" || c.RunEndpoint != "https://x/" ||
		c.QuotaProject != "q" || !c.DisablePrompts || c.Dir != dir {
		t.Errorf("got %+v", c)
	}
	if got := c.Source(RunRegion); got != "" {
		t.Errorf("an unset region comes from %q", got)
	}
}

func TestHomeDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("uses APPDATA")
	}
	home := t.TempDir()
	write(t, filepath.Join(home, ".config/gcloud/configurations/config_default"), defaultConfig)
	c, err := Load(t.Context(), Flags{}, environment{"HOME": home}.get)
	if err != nil || c.Project != "file-project" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestInstallationProperties(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("makes an executable file")
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "bin/gcloud"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(root, "bin/gcloud"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "properties"), "[core]\nproject = site\n[run]\nregion = site-region\n")
	dir := settings(t, map[string]string{"configurations/config_default": "[run]\nregion = mine\n"})
	c, err := Load(t.Context(), Flags{}, environment{"CLOUDSDK_CONFIG": dir, "PATH": "relative:" + filepath.Join(root, "bin")}.get)
	if err != nil || c.Project != "site" || c.Region != "mine" || c.Source(Project) != "the installation's properties" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestBadConfigurations(t *testing.T) {
	dir := settings(t, map[string]string{
		"configurations/config_broken":  "[core]\nproject\n",
		"configurations/config_broken2": "[core\n",
		"configurations/config_broken3": "project = x\n",
	})
	for _, tt := range []struct {
		name, configuration, says, hint string
	}{
		{"missing", "gone", `there is no configuration "gone"`, "gcloud config configurations list"},
		{"bad name", "../../etc/passwd", "is no name of a configuration", ""},
		{"no value", "broken", "config_broken: line 2", ""},
		{"open section", "broken2", "line 1: a section without its ]", ""},
		{"no section", "broken3", "line 1: neither", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(t.Context(), Flags{Configuration: tt.configuration}, environment{"CLOUDSDK_CONFIG": dir}.get)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v", err)
			}
			if tt.hint != "" && !slices.Contains(hints(err), tt.hint) {
				t.Errorf("hints are %q", hints(err))
			}
		})
	}
	if _, err := Load(t.Context(), Flags{}, environment{"CLOUDSDK_CONFIG": filepath.Join(dir, "nowhere")}.get); err != nil {
		t.Errorf("without any configuration: %v", err)
	}
}

func hints(err error) []string {
	var h interface{ Hints() []string }
	if !errors.As(err, &h) {
		return nil
	}
	return h.Hints()
}

func FuzzParseProperties(f *testing.F) {
	f.Add([]byte(defaultConfig))
	f.Add([]byte(workConfig))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := parseProperties(b)
		for p := range m {
			if !strings.Contains(string(p), "/") {
				t.Fatalf("property %q has no section", p)
			}
		}
	})
}
