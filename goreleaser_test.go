package cloudssh_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// release is the part of goreleaser.yaml (its version 2) that this repository
// uses: a key of another name is a mistake that goreleaser would only find on
// the day of a release.
type release struct {
	Version int
	Project string `yaml:"project_name"`
	Before  struct{ Hooks []string }
	Builds  []struct {
		ID, Main, Binary    string
		Env, Flags, Ldflags []string
		ModTimestamp        string `yaml:"mod_timestamp"`
		Goos, Goarch        []string
	}
	Archives []struct {
		ID              string
		IDs             []string
		NameTemplate    string `yaml:"name_template"`
		Formats         []string
		FormatOverrides []struct {
			Goos    string
			Formats []string
		} `yaml:"format_overrides"`
		Files []string
	}
	Checksum struct {
		NameTemplate string `yaml:"name_template"`
		Algorithm    string
	}
	Snapshot struct {
		VersionTemplate string `yaml:"version_template"`
	}
	Changelog struct{ Disable bool }
}

func readRelease(t *testing.T) release {
	t.Helper()
	b, err := os.ReadFile("goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r release
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReleaseBuilds(t *testing.T) {
	r := readRelease(t)
	if r.Version != 2 {
		t.Errorf("version %d, want 2", r.Version)
	}
	ids, binaries := map[string]bool{}, map[string]bool{}
	for _, b := range r.Builds {
		if ids[b.ID] || binaries[b.Binary] {
			t.Errorf("build %s, binary %s: named twice", b.ID, b.Binary)
		}
		ids[b.ID], binaries[b.Binary] = true, true
		if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(b.Flags, "-trimpath") || b.ModTimestamp == "" {
			t.Errorf("build %s is not reproducible: env %v, flags %v, mod_timestamp %q", b.ID, b.Env, b.Flags, b.ModTimestamp)
		}
		if !strings.Contains(strings.Join(b.Ldflags, " "), "-X main.version={{ .Version }}") {
			t.Errorf("build %s does not know its version: ldflags %v", b.ID, b.Ldflags)
		}
	}
	// Client and agent refuse each other when their versions differ.
	if !slices.ContainsFunc(r.Before.Hooks, func(h string) bool {
		return strings.HasPrefix(h, "make embed") && strings.Contains(h, "VERSION={{ .Version }}")
	}) {
		t.Errorf("hooks %q do not embed the agent of this version", r.Before.Hooks)
	}
}

// Every program resolves, with all it imports, on every platform it is
// released for.
func TestReleaseTargets(t *testing.T) {
	programs := map[string][]string{} // by GOOS/GOARCH
	for _, b := range readRelease(t).Builds {
		for _, goos := range b.Goos {
			for _, goarch := range b.Goarch {
				programs[goos+"/"+goarch] = append(programs[goos+"/"+goarch], b.Main)
			}
		}
	}
	for target, mains := range programs {
		t.Run(target, func(t *testing.T) {
			goos, goarch, _ := strings.Cut(target, "/")
			env := append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
			for _, args := range [][]string{{"-f", "{{.Name}}"}, {"-deps"}} {
				cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"list"}, args...), mains...)...)
				cmd.Env = env
				var stderr strings.Builder
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
				}
				if args[0] == "-f" && string(out) != strings.Repeat("main\n", len(mains)) {
					t.Errorf("%v are of packages %q, want main", mains, strings.Fields(string(out)))
				}
			}
		})
	}
}

func TestReleaseArchives(t *testing.T) {
	r := readRelease(t)
	left := map[string]bool{}
	for _, b := range r.Builds {
		left[b.ID] = true
	}
	names := map[string]bool{}
	for _, a := range r.Archives {
		for _, id := range a.IDs {
			if !left[id] {
				t.Errorf("archive %s: build %s does not exist, or is in two archives", a.ID, id)
			}
			delete(left, id)
		}
		if names[a.ID] || names[a.NameTemplate] {
			t.Errorf("archive %s, %s: named twice", a.ID, a.NameTemplate)
		}
		names[a.ID], names[a.NameTemplate] = true, true
		for _, f := range a.Files {
			if m, err := filepath.Glob(f); err != nil || len(m) == 0 && !strings.Contains(f, "*") {
				t.Errorf("archive %s: there is no %s (%v)", a.ID, f, err)
			}
		}
	}
	for id := range left {
		t.Errorf("build %s is in no archive", id)
	}
}
