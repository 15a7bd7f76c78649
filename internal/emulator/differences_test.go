package emulator_test

import (
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDifferencesAreDocumented holds together the two places where the emulator admits what it does otherwise than
// the platform: the comments of its packages and the page for its users.
func TestDifferencesAreDocumented(t *testing.T) {
	var inCode []string
	for _, dir := range []string{".", "identity", "rules", "runtime", "serving"} {
		found := packageDifferences(t, dir)
		if len(found) == 0 && dir != "runtime" { // what containers do otherwise is this package's list
			t.Errorf("the package comment in %s lists no differences", dir)
		}
		inCode = append(inCode, found...)
	}
	inDocs := pageDifferences(t, "../../docs/emulator.md")
	for _, d := range inCode {
		if !slices.Contains(inDocs, d) {
			t.Errorf("not in docs/emulator.md, section %q:\n- %s", differences, d)
		}
	}
	for _, d := range inDocs {
		if !slices.Contains(inCode, d) {
			t.Errorf("in docs/emulator.md and in no package comment:\n- %s", d)
		}
	}
}

// differences is the heading, in both places.
const differences = "Differences from the platform"

// packageDifferences are the items of the lists below a package comment's heading.
func packageDifferences(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		inside := false
		for _, block := range new(comment.Parser).Parse(file.Doc.Text()).Content {
			switch b := block.(type) {
			case *comment.Heading:
				inside = plain(b.Text) == differences
			case *comment.List:
				for _, item := range b.Items {
					if p, ok := item.Content[0].(*comment.Paragraph); ok && inside {
						found = append(found, normal(plain(p.Text)))
					}
				}
			}
		}
	}
	return found
}

func plain(text []comment.Text) string {
	var b strings.Builder
	for _, part := range text {
		switch p := part.(type) {
		case comment.Plain:
			b.WriteString(string(p))
		case comment.Italic:
			b.WriteString(string(p))
		case *comment.Link:
			b.WriteString(plain(p.Text))
		case *comment.DocLink:
			b.WriteString(plain(p.Text))
		}
	}
	return b.String()
}

// pageDifferences are the items of the lists in the page's section.
func pageDifferences(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+differences+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, differences)
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var items []string
	open := false
	for line := range strings.Lines(section) {
		text, begins := strings.CutPrefix(line, "- ")
		switch {
		case begins:
			items, open = append(items, text), true
		case open && strings.HasPrefix(line, "  "):
			items[len(items)-1] += line
		default:
			open = false
		}
	}
	for i, item := range items {
		items[i] = normal(item)
	}
	return items
}

// normal leaves out how a text is set: line breaks, and Markdown's code spans.
func normal(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "`", "")), " ")
}
