// Package cloudssh_test holds the rules of the whole repository: which package
// may import which, and that each says what it is for.
package cloudssh_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cloudssh/cloudssh/"

// imports is the table of docs/architecture.md: rows may import columns.
// Arrows point down only; nothing but cli imports the emulator, and the
// emulator imports nothing of the client, so that a mistake cannot cancel
// itself out on both sides.
var imports = map[string][]string{
	"internal/gcloud":             {},
	"internal/screen":             {},
	"internal/inject":             {},
	"internal/provision":          {},
	"internal/transport":          {},
	"internal/tty":                {"internal/screen"},
	"internal/ui":                 {"internal/ui/noquery"},
	"internal/ui/noquery":         {},
	"internal/sftp":               {},
	"internal/scp":                {},
	"internal/sshconfig":          {},
	"internal/transfer":           {},
	"internal/agent":              {"internal/screen", "internal/sftp", "internal/scp"},
	"internal/shell":              {"internal/shell/line", "internal/shell/tool"},
	"internal/shell/line":         {},
	"internal/shell/tool":         {},
	"images":                      {},
	"images/hello":                {},
	"images/oci":                  {"images"},
	"internal/session":            {"internal/tty"},
	"internal/provision/cloudrun": {"internal/provision", "internal/inject"},
	"internal/emulator/identity":  {},
	"internal/emulator/rules":     {},

	"internal/emulator/rules/rulestest": {},

	"internal/emulator/runtime": {},
	"internal/emulator/serving": {"internal/emulator/runtime"},
	"internal/emulator": {
		"internal/emulator/identity", "internal/emulator/rules",
		"internal/emulator/runtime", "internal/emulator/serving",
	},
	"internal/cli": {
		"images", "internal/emulator", "internal/gcloud", "internal/inject", "internal/provision",
		"internal/provision/cloudrun", "internal/session", "internal/sshconfig", "internal/transfer", "internal/transport",
		"internal/tty", "internal/ui",
	},
	"cmd/cloudssh":       {"internal/cli"},
	"cmd/cloudssh-agent": {"internal/agent", "internal/transport"},
	"cmd/cloudssh-shell": {"internal/shell"},
	"plugin/cf":          {"internal/cli"},
	"bench":              {},
	"bench/wan":          {},
	"e2e":                {},
}

// forbidden lists what a program must not link, and why.
var forbidden = map[string]map[string]string{
	"cmd/cloudssh-agent": {
		"google.golang.org/grpc":              "the agent is pushed into every twin",
		"github.com/spf13/cobra":              "the agent has no commands",
		"github.com/charmbracelet/bubbletea":  "the agent has no screen",
		"cloud.google.com/go/run/apiv2/runpb": "the agent knows nothing of the Admin API",
	},
	"cmd/cloudssh-shell": {
		"google.golang.org/grpc":             "the shell is pushed into every twin",
		"github.com/charmbracelet/bubbletea": "the shell draws by itself",
		"golang.org/x/crypto/ssh":            "the shell has no connections",
	},
}

type pkg struct {
	ImportPath   string
	Dir          string
	Imports      []string
	GoFiles      []string
	Deps         []string
	TestGoFiles  []string
	XTestGoFiles []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Imports,GoFiles,Deps"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return pkgs
}

func TestImportDirections(t *testing.T) {
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := imports[name]
		if !known {
			t.Errorf("%s is not in the table: a new package must hide something, and say what it may import", name)
			continue
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which the table does not allow", name, ours)
			}
		}
	}
}

func TestForbiddenDependencies(t *testing.T) {
	for program, deps := range forbidden {
		for _, p := range list(t, "./"+program) {
			for dep, why := range deps {
				if slices.Contains(p.Deps, dep) {
					t.Errorf("%s links %s: %s", program, dep, why)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		var docs []string
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if doc := packageDoc(file); doc != "" {
				docs = append(docs, f)
			}
		}
		if len(p.GoFiles) > 0 && len(docs) != 1 {
			t.Errorf("%s has %d package comments (%v), want 1", p.ImportPath, len(docs), docs)
		}
	}
}

func packageDoc(f *ast.File) string {
	if f.Doc == nil {
		return ""
	}
	return f.Doc.Text()
}
