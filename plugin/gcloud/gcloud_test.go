// Package gcloud_test runs the gcloud command of cloudssh under the real
// gcloud, in a copy of its installation that is made of symbolic links: the
// machine's own is only read.
package gcloud_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fake stands in for cloudssh: it prints what it was given and fails as a
// remote command may.
const fake = `#!/bin/sh
for a in "$@"; do printf 'arg %s\n' "$a"; done
env | grep -E '^CLOUDSDK_(CORE_(PROJECT|ACCOUNT)|RUN|AUTH|BILLING|ACTIVE)' | sort
exit 7
`

// sdk is a gcloud installation of the test's own.
type sdk struct {
	root string
	env  []string
	path string // of the fake
}

func newSDK(t *testing.T) *sdk {
	t.Helper()
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("SKIPPED: gcloud is not installed, so the gcloud command is NOT tested here")
	}
	if gcloud, err = filepath.EvalSymlinks(gcloud); err != nil {
		t.Fatal(err)
	}
	src := filepath.Dir(filepath.Dir(gcloud))
	if _, err := os.Stat(filepath.Join(src, "lib", "surface")); err != nil {
		t.Skipf("SKIPPED: %s is no gcloud installation, so the gcloud command is NOT tested here: %v", src, err)
	}
	dir := t.TempDir()
	s := &sdk{root: filepath.Join(dir, "google cloud sdk"), path: filepath.Join(dir, "bin")}
	// gcloud finds its own place through the real paths of the files below.
	own := []string{"bin/gcloud", "lib/gcloud.py", "lib/surface/__init__.py", "lib/googlecloudsdk/core/config.py"}
	link(t, src, s.root, ".", own)
	write(t, filepath.Join(s.path, "cloudssh"), fake, 0o755)
	s.env = []string{
		"HOME=" + dir,
		"CLOUDSDK_CONFIG=" + filepath.Join(dir, "config"),
		"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=1",
		"CLOUDSDK_SURVEY_DISABLE_PROMPTS=1",
		"PYTHONDONTWRITEBYTECODE=1", // it would land behind the links
	}
	return s
}

// link makes dst look like src by symbolic links, with real copies of own.
func link(t *testing.T, src, dst, rel string, own []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(src, rel))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dst, rel), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(rel, e.Name())
		var whole, part bool
		for _, o := range own {
			whole = whole || o == name
			part = part || strings.HasPrefix(o, name+"/")
		}
		switch from, to := filepath.Join(src, name), filepath.Join(dst, name); {
		case part:
			link(t, src, dst, name, own)
		case whole:
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			write(t, to, string(b), 0o755)
		case name == "lib/surface/cloudssh.py": // this machine has it installed
		default:
			if err := os.Symlink(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

type result struct {
	Code   int
	Stdout string
}

// run runs a program with the SDK's gcloud and the fake on PATH.
func (s *sdk) run(t *testing.T, env []string, name string, args ...string) (result, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(append(cmd.Env, s.env...), "PATH="+filepath.Join(s.root, "bin")+":"+s.path+":/usr/bin:/bin")
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String()}, stderr.String()
}

func (s *sdk) gcloud(t *testing.T, env []string, args ...string) (result, string) {
	t.Helper()
	return s.run(t, env, filepath.Join(s.root, "bin", "gcloud"), args...)
}

func (s *sdk) install(t *testing.T, args ...string) (result, string) {
	t.Helper()
	return s.run(t, nil, "./install.sh", args...)
}

func TestArgumentsReachCloudssh(t *testing.T) {
	s := newSDK(t)
	if r, stderr := s.install(t, "install", "--sdk-root", s.root); r.Code != 0 {
		t.Fatalf("install.sh: %v, %s", r, stderr)
	}
	tests := map[string]struct {
		args string // separated by |
		env  []string
		want []string
	}{
		"command":   {args: "cloudssh|version", want: []string{"arg version"}},
		"no args":   {args: "cloudssh"},
		"exec":      {args: "cloudssh|hello|--exec|exit 7", want: []string{"arg hello", "arg --exec", "arg exit 7"}},
		"format":    {args: "cloudssh|list|--format|json", want: []string{"arg list", "arg --format", "arg json"}},
		"argv":      {args: "cloudssh|hello|--|ls|--help|--|-q||a b", want: []string{"arg hello", "arg --", "arg ls", "arg --help", "arg --", "arg -q", "arg ", "arg a b"}},
		"own flag":  {args: "cloudssh|--ttl=1h|hello|-h", want: []string{"arg --ttl=1h", "arg hello", "arg -h"}},
		"wide flag": {args: "cloudssh|hello|--project|p|--quiet", want: []string{"arg hello", "arg --project", "arg p", "arg --quiet"}},
		"wide flags before": {
			args: "--project|p|cloudssh|--account=me@example.com|--impersonate-service-account|a@b|--configuration|default|--quiet|--format|json|list",
			want: []string{
				"arg --format=json", "arg --quiet", "arg list",
				"CLOUDSDK_ACTIVE_CONFIG_NAME=default",
				"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT=a@b",
				"CLOUDSDK_CORE_ACCOUNT=me@example.com",
				"CLOUDSDK_CORE_PROJECT=p",
			},
		},
		"flag over environment": {
			args: "cloudssh|--project|p|list", env: []string{"CLOUDSDK_CORE_PROJECT=other", "CLOUDSDK_RUN_REGION=europe-west1"},
			want: []string{"arg list", "CLOUDSDK_CORE_PROJECT=p", "CLOUDSDK_RUN_REGION=europe-west1"},
		},
		// gcloud reads this --configuration as its own; nothing may come of it.
		"configuration of the remote command": {
			args: "cloudssh|hello|--|tool|--configuration|prod",
			want: []string{"arg hello", "arg --", "arg tool", "arg --configuration", "arg prod"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, stderr := s.gcloud(t, tt.env, strings.Split(tt.args, "|")...)
			want := result{7, strings.Join(append(tt.want, ""), "\n")}
			if len(tt.want) == 0 {
				want.Stdout = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("gcloud %s (-want +got):\n%s%s", tt.args, diff, stderr)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	s := newSDK(t)
	if r, stderr := s.install(t, "install", "--sdk-root", s.root); r.Code != 0 {
		t.Fatalf("install.sh: %v, %s", r, stderr)
	}
	if r, stderr := s.gcloud(t, nil, "cloudssh", "--help"); r.Code != 0 || !strings.Contains(r.Stdout, "private, short-lived twin") {
		t.Errorf("gcloud cloudssh --help: %v, %s", r, stderr)
	}
	if r, stderr := s.gcloud(t, nil, "cloudssh", "--log-http", "list"); r.Code != 7 || !strings.Contains(stderr, "--log-http has no effect") {
		t.Errorf("gcloud cloudssh --log-http list: %v, %s", r, stderr)
	}
	if err := os.Remove(filepath.Join(s.path, "cloudssh")); err != nil {
		t.Fatal(err)
	}
	if r, stderr := s.gcloud(t, nil, "cloudssh", "list"); r.Code != 1 || !strings.Contains(stderr, "cloudssh is not on PATH") {
		t.Errorf("gcloud cloudssh without cloudssh: %v, %s", r, stderr)
	}
}

func TestInstall(t *testing.T) {
	s := newSDK(t)
	target := filepath.Join(s.root, "lib", "surface", "cloudssh.py")
	steps := []struct {
		action, want string
		code         int
	}{
		{"status", "not installed: ", 1},
		{"uninstall", "not installed: ", 0},
		{"install", "installed: ", 0},
		{"install", "already installed: ", 0},
		{"status", "installed: ", 0},
		{"uninstall", "removed: ", 0},
		{"status", "not installed: ", 1},
	}
	for i, step := range steps {
		args := []string{step.action}
		if i > 0 { // gcloud is slow to say it: once is enough
			args = append(args, "--sdk-root", s.root)
		}
		got, stderr := s.install(t, args...)
		if diff := cmp.Diff(result{step.code, step.want + target + "\n"}, got); diff != "" {
			t.Errorf("install.sh %s (-want +got):\n%s%s", step.action, diff, stderr)
		}
	}
	if r, _ := s.gcloud(t, nil, "cloudssh", "version"); r.Code != 2 {
		t.Errorf("gcloud still knows cloudssh after uninstall: %v", r)
	}

	const foreign = "# somebody else's\n"
	write(t, target, foreign, 0o644)
	for _, action := range []string{"install", "uninstall", "status"} {
		if r, stderr := s.install(t, action, "--sdk-root", s.root); r.Code != 1 || !strings.Contains(stderr, "leaving it alone") {
			t.Errorf("install.sh %s over a foreign file: %v, %s", action, r, stderr)
		}
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != foreign {
		t.Errorf("the foreign file is now %q, %v", b, err)
	}
	if r, _ := s.install(t); r.Code != 2 {
		t.Errorf("install.sh without an action: %v, want exit code 2", r)
	}
	if r, stderr := s.install(t, "status", "--sdk-root", s.path); r.Code != 1 || !strings.Contains(stderr, "there is no gcloud in") {
		t.Errorf("install.sh in a wrong directory: %v, %s", r, stderr)
	}
}

func TestInstallRefusesWhatItCannotWrite(t *testing.T) {
	root := filepath.Join(t.TempDir(), "sdk")
	s := &sdk{root: root}
	if err := os.MkdirAll(filepath.Join(root, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	surface := t.TempDir()
	if err := os.Chmod(surface, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may write everywhere, but make no files there
		surface = "/proc"
	}
	if err := os.Symlink(surface, filepath.Join(root, "lib", "surface")); err != nil {
		t.Fatal(err)
	}
	got, stderr := s.install(t, "install", "--sdk-root", root)
	if got.Code != 1 || !strings.Contains(stderr, "is not writable") ||
		!strings.Contains(stderr, "hint: sudo ") || !strings.Contains(stderr, "install.sh install --sdk-root "+root+"\n") {
		t.Errorf("install.sh: %v, %s", got, stderr)
	}
}
