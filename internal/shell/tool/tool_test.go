package tool

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A result is what a run of a tool or of a program left.
type result struct {
	stdout, stderr string
	status         int
}

// lookup returns a tool by its name.
func lookup(t *testing.T, name string) Tool {
	t.Helper()
	for _, tool := range All() {
		if tool.Name == name {
			return tool
		}
	}
	t.Fatalf("there is no tool %s", name)
	return Tool{}
}

// run runs a tool in dir; what it starts are tools, too.
func run(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := newContext(t, dir, args...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if !OwnProcess(args[0]) {
		status := lookup(t, args[0]).Run(c)
		return result{stdout.String(), stderr.String(), status}
	}
	in, out, errs := textFile(t, stdin), textFile(t, ""), textFile(t, "") // which its children share with it
	c.Stdin, c.Stdout, c.Stderr = in, out, errs
	status := lookup(t, args[0]).Run(c)
	return result{textOf(t, out), textOf(t, errs), status}
}

// textFile is an open file of that text, at its beginning.
func textFile(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "text")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func textOf(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newContext(t *testing.T, dir string, args ...string) *Context {
	t.Helper()
	environ := []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=/root", "USER=root"}
	c := &Context{Context: t.Context(), Args: args, Dir: dir, Environ: environ}
	c.Env = func(name string) string { return lookupEnv(c.Environ, name) }
	c.Start = func(n *Context) int {
		for _, tool := range All() {
			if tool.Name == n.Args[0] {
				n.Env = func(name string) string { return lookupEnv(n.Environ, name) }
				return tool.Run(n)
			}
		}
		n.Errorf("not found")
		return 127
	}
	return c
}

func lookupEnv(environ []string, name string) string {
	for _, e := range environ {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}

// program runs the program of that name of this machine.
func program(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(stdin), &stdout, &stderr
	cmd.Env = newContext(t, dir).Environ
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// same runs each command line as a tool and as a program, and wants the same
// output and status. A first word such as "sorted:" has the lines sorted before.
func same(t *testing.T, dir, stdin string, commands ...string) {
	t.Helper()
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			args, sorted := words(command), false
			if args[0] == "sorted:" {
				args, sorted = args[1:], true
			}
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("this machine has no %s to compare with", args[0])
			}
			want := program(t, dir, stdin, args...)
			got := run(t, dir, stdin, args...)
			if sorted {
				got.stdout, want.stdout = sortLines(got.stdout), sortLines(want.stdout)
			}
			if got.stdout != want.stdout || got.status != want.status {
				t.Errorf("got status %d and\n%q%s\nwant status %d and\n%q%s", got.status, got.stdout, got.stderr, want.status, want.stdout, want.stderr)
			}
		})
	}
}

// sameNow is same for what the clock changes: the program says the same before and
// after the tool, or both are asked again.
func sameNow(t *testing.T, dir string, commands ...string) {
	t.Helper()
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			args := words(command)
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skipf("this machine has no %s to compare with", args[0])
			}
			var want, got result
			for after := (result{status: -1}); after.stdout != want.stdout || after.status != want.status; after = program(t, dir, "", args...) {
				want, got = program(t, dir, "", args...), run(t, dir, "", args...)
			}
			if got.stdout != want.stdout || got.status != want.status {
				t.Errorf("got status %d and\n%q%s\nwant status %d and\n%q%s", got.status, got.stdout, got.stderr, want.status, want.stdout, want.stderr)
			}
		})
	}
}

// words splits at spaces; in single quotes they are kept.
func words(s string) []string {
	var all []string
	word, quoted, some := "", false, false
	for _, r := range s {
		switch {
		case r == '\'':
			quoted, some = !quoted, true
		case r == ' ' && !quoted:
			if some || word != "" {
				all = append(all, word)
			}
			word, some = "", false
		default:
			word += string(r)
		}
	}
	if some || word != "" {
		all = append(all, word)
	}
	return all
}

func sortLines(s string) string {
	l := strings.Split(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// tree makes files: names that end with a slash are folders, and contents that
// begin with "-> " make links.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch to, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(to, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
