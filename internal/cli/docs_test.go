package cli

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "write docs/commands instead of comparing")

// TestDocs holds docs/commands against the commands themselves.
func TestDocs(t *testing.T) {
	root := newRootCmd(&app{version: "VERSION"})
	root.InitDefaultCompletionCmd()
	want := t.TempDir()
	dir := filepath.Join("..", "..", "docs", "commands")
	if *update {
		want = dir
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := doc.GenMarkdownTree(root, want); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	generated, err := filepath.Glob(filepath.Join(want, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(bases(generated), bases(got)); d != "" {
		t.Errorf("pages (-commands +docs), run `make docs`:\n%s", d)
	}
	for _, page := range generated {
		a, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.Base(page)))
		if err != nil {
			continue // reported above
		}
		if d := cmp.Diff(string(a), string(b)); d != "" {
			t.Errorf("%s is stale, run `make docs`:\n%s", filepath.Base(page), d)
		}
	}
}

func bases(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		out = append(out, filepath.Base(p))
	}
	slices.Sort(out)
	return out
}
