package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// parsed is what a command line means.
func parsed(args ...string) (provision.Overrides, provision.Target, error) {
	o := &connectOptions{escape: "none"}
	cmd := &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error { return o.validate() }}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	o.registerTwin(cmd)
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		return provision.Overrides{}, provision.Target{}, err
	}
	t, err := o.source.target("job:nightly")
	return o.overrides, t, err
}

func TestOverrides(t *testing.T) {
	got, target, err := parsed("--update-env-vars", "A=1,B=2", "--remove-env-vars", "C,D", "--remove-env-vars", "E",
		"--set-secrets", "KEY=key:3,/run/cert=cert", "--command", "/bin/app", "--args", "^;^-v;a,b", "--cpu", "2", "--memory", "1Gi",
		"--service-account", "a@b.iam.gserviceaccount.com", "--execution-environment", "gen2", "--vpc-egress", "all-traffic",
		"--timeout", "300", "--image", "us-docker.pkg.dev/p/r/i:next")
	if err != nil {
		t.Fatal(err)
	}
	want := provision.Overrides{
		SetEnv: map[string]string{"A": "1", "B": "2"}, RemoveEnv: []string{"C", "D", "E"},
		Secrets: map[string]provision.SecretRef{"KEY": {Secret: "key", Version: "3"}, "/run/cert": {Secret: "cert"}},
		Command: []string{"/bin/app"}, Args: []string{"-v", "a,b"}, CPU: "2", Memory: "1Gi",
		ServiceAccount: "a@b.iam.gserviceaccount.com", ExecutionEnvironment: "gen2", VPCEgress: "all-traffic", Timeout: 5 * time.Minute,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if want := (provision.Target{Kind: provision.KindJob, Name: "nightly", Image: "us-docker.pkg.dev/p/r/i:next"}); target != want {
		t.Errorf("target %+v, want %+v", target, want)
	}
}

// TestOverridesReplace: as with gcloud, --set-env-vars leaves nothing else, and
// an empty list is not the same as none.
func TestOverridesReplace(t *testing.T) {
	got, _, err := parsed("--set-env-vars", "A=1", "--args", "")
	if err != nil {
		t.Fatal(err)
	}
	want := provision.Overrides{ClearEnv: true, SetEnv: map[string]string{"A": "1"}, Args: []string{}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestOverridesRefused: what is wrong is said before anything is asked or made.
func TestOverridesRefused(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--set-env-vars A=1 --update-env-vars B=2", "do not go with it"},
		{"--set-env-vars A=1 --clear-env-vars", "do not go with it"},
		{"--update-env-vars PORT=1", "PORT"},
		{"--update-env-vars K_SERVICE=x", "K_SERVICE"},
		{"--set-secrets KEY", "want KEY=VALUE"},
		{"--set-secrets KEY=:1", "SECRET:VERSION"},
		{"--cpu 3", "--cpu"},
		{"--cpu lots", "--cpu"},
		{"--memory 1", "--memory"},
		{"--cpu 1 --memory 16Gi", "--memory"},
		{"--execution-environment gen3", "gen1"},
		{"--vpc-egress some", "all-traffic"},
		{"--timeout 3601", "1 to 3600"},
		{"--timeout 0", "1 to 3600"},
		{"--inject magic", "layer"},
		{"--image UPPER:x:y", "image"},
		{"--revision a --tag b", "both name a revision"},
		{"--revision a", "has no revisions"},
	} {
		_, _, err := parsed(strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.args, err, tt.want)
			continue
		}
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v is no usage error", tt.args, err)
		}
	}
}
