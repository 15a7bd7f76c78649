package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
	"github.com/cloudssh/cloudssh/internal/ui"
)

// putBlock is the edit of config write.
func putBlock(f *sshconfig.File, made sshconfig.Made) error {
	return f.Put(sshconfig.Block{Prefix: "cloudssh-", Command: []string{"cloudssh", "proxy", sshconfig.HostName}, IdentityFile: "/id", KnownHosts: "/known", User: "cloudssh", Made: made})
}

func takeBlocks(f *sshconfig.File, _ sshconfig.Made) error {
	f.Remove("")
	return nil
}

// mustEdit edits and returns what there is afterwards.
func mustEdit(t *testing.T, path string, edit func(*sshconfig.File, sshconfig.Made) error) *configEdit {
	t.Helper()
	e, err := editConfig(path, false, edit)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConfigRound writes and removes on a disk: content, mode and what was not
// there are as before.
func TestConfigRound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		content string
		mode    fs.FileMode
	}{
		{"empty", "", 0o600},
		{"readable by all", "Host x\n", 0o644},
		{"of the user alone", "Host x", 0o600},
		{"executable, whyever", "# x\r\n", 0o755},
	} {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		for range 2 {
			mustEdit(t, path, putBlock)
			info, err := os.Stat(path)
			if err != nil || info.Mode() != tt.mode {
				t.Errorf("%s: mode %v, error %v", tt.name, info.Mode(), err)
			}
		}
		if e := mustEdit(t, path, putBlock); e.changed() {
			t.Errorf("%s: written twice", tt.name)
		}
		mustEdit(t, path, takeBlocks)
		if got := read(t, path); got != tt.content {
			t.Errorf("%s: %q became %q", tt.name, tt.content, got)
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 1 {
			t.Errorf("%s: files left: %v, error %v", tt.name, left, err)
		}
	}
}

func TestConfigMade(t *testing.T) {
	home := t.TempDir()
	folder := filepath.Join(home, ".ssh")
	path := filepath.Join(folder, "config")
	mustEdit(t, path, putBlock)
	for name, want := range map[string]fs.FileMode{folder: 0o700 | fs.ModeDir, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v, error %v", name, info.Mode(), want, err)
		}
	}
	mustEdit(t, path, putBlock)
	mustEdit(t, path, takeBlocks)
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}

	mustEdit(t, path, putBlock)
	other := filepath.Join(folder, "known_hosts")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustEdit(t, path, takeBlocks)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a file of the user's: %v", err)
	}

	mustEdit(t, path, putBlock) // into a folder that is there now
	if err := os.WriteFile(path, append([]byte(read(t, path)), "Host mine\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	mustEdit(t, path, takeBlocks)
	if got := read(t, path); got != "Host mine\n" {
		t.Errorf("what the user wrote into our file became %q", got)
	}
}

// TestConfigLinks keeps links and edits what they lead to.
func TestConfigLinks(t *testing.T) {
	for _, tt := range []struct {
		name, link string
		exists     bool
	}{
		{"to a file", "dotfiles/config", true},
		{"to no file yet", "dotfiles/config", false},
		{"by another link", "second", true},
		{"by another link, to no file yet", "second", false},
	} {
		dir := t.TempDir()
		target := filepath.Join(dir, "dotfiles", "config")
		if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if tt.exists {
			if err := os.WriteFile(target, []byte("# mine\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "config")
		for link, to := range map[string]string{path: tt.link, filepath.Join(dir, "second"): "dotfiles/config"} {
			if err := os.Symlink(to, link); err != nil {
				t.Fatal(err)
			}
		}
		mustEdit(t, path, putBlock)
		if got := read(t, target); !strings.HasPrefix(got, "# >>> cloudssh") || strings.HasSuffix(got, "# mine\n") != tt.exists {
			t.Errorf("%s: %q", tt.name, got)
		}
		mustEdit(t, path, takeBlocks)
		if to, err := os.Readlink(path); err != nil || to != tt.link {
			t.Errorf("%s: the link leads to %q, error %v", tt.name, to, err)
		}
		if _, err := os.Stat(target); (err == nil) != tt.exists {
			t.Errorf("%s: the target: %v", tt.name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.Symlink(path, path); err != nil {
		t.Fatal(err)
	}
	if _, err := editConfig(path, false, putBlock); err == nil {
		t.Error("a link to itself was edited")
	}
}

// TestConfigRefused demands that a file which is not to be written to, or
// cannot be, stays as it is, with words on what to do.
func TestConfigRefused(t *testing.T) {
	dir := t.TempDir()
	readOnly, broken, folder := filepath.Join(dir, "readonly"), filepath.Join(dir, "broken"), filepath.Join(dir, "folder")
	half := "# mine\n# >>> cloudssh config: cloudssh- >>>\nHost cloudssh-*\n"
	if err := errors.Join(os.WriteFile(readOnly, []byte("# mine\n"), 0o400), os.WriteFile(broken, []byte(half), 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		readOnly:                          {"it is read-only (mode 0400)", "cloudssh config print"},
		broken:                            {"line 2 begins a block of cloudssh's that ends nowhere", "delete what is left"},
		folder:                            {"is no regular file", ""},
		filepath.Join(dir, "a", "b", "c"): {"making a place", "cloudssh config print"},
		filepath.Join(readOnly, "config"): {"not a directory", ""},
	} {
		_, err := editConfig(path, false, putBlock)
		if err == nil || !strings.Contains(err.Error(), want[0]) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want[0])
		}
		if hints := strings.Join(ui.Hints(err), "\n"); !strings.Contains(hints, want[1]) {
			t.Errorf("%s: hints %q, want %q", path, hints, want[1])
		}
	}
	if read(t, readOnly) != "# mine\n" || read(t, broken) != half {
		t.Error("a file changed")
	}
}

// TestConfigConcurrent has another program change the file while we do.
func TestConfigConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	theirs := []byte("# 0\n")
	write := func() {
		if err := os.WriteFile(path, theirs, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	edits := 0
	mustEdit(t, path, func(f *sshconfig.File, made sshconfig.Made) error {
		if edits++; edits <= 2 {
			theirs = append(theirs, "# more\n"...)
			write()
		}
		return putBlock(f, made)
	})
	if got := read(t, path); edits != 3 || !strings.HasSuffix(got, "# 0\n# more\n# more\n") {
		t.Errorf("after %d edits: %q", edits, got)
	}

	write()
	_, err := editConfig(path, false, func(f *sshconfig.File, made sshconfig.Made) error {
		theirs = append(theirs, "# more\n"...)
		write()
		return putBlock(f, made)
	})
	if !errors.Is(err, errConcurrent) {
		t.Errorf("error %v", err)
	}
	if got := read(t, path); got != string(theirs) {
		t.Errorf("theirs is lost: %q", got)
	}
	_, err = editConfig(path+"-new", false, func(f *sshconfig.File, made sshconfig.Made) error {
		path := path + "-new"
		if err := os.WriteFile(path, []byte("# theirs\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return putBlock(f, made)
	})
	if got := read(t, path+"-new"); err != nil || !strings.HasSuffix(got, "# theirs\n") || strings.Contains(got, "made this file") {
		t.Errorf("a file that appeared: %q, error %v", got, err)
	}
}

func TestConfigDiff(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"", "a\n", "@@ -0,0 +1,1 @@\n+a\n"},
		{"a\n", "", "@@ -1,1 +0,0 @@\n-a\n"},
		{"1\n2\n3\n4\n", "x\n1\n2\n3\n4\n", "@@ -1,3 +1,4 @@\n+x\n 1\n 2\n 3\n"},
		{"1\r\n2\r\n3\r\n4\r\n5\r\n", "1\r\n2\r\n3\r\n4\r\nx", "@@ -2,4 +2,4 @@\n 2\n 3\n 4\n-5\n+x\n"},
		{"a\na\n", "a\na\na\n", "@@ -1,2 +1,3 @@\n a\n a\n+a\n"},
	} {
		e := &configEdit{path: "F", before: []byte(tt.before), after: []byte(tt.after)}
		if d := cmp.Diff("--- F\n+++ F\n"+tt.want, e.diff()); d != "" {
			t.Errorf("%q to %q (-want +got):\n%s", tt.before, tt.after, d)
		}
	}
}

// TestConfigCarries holds the flags of config write against those of the
// proxy, which it writes into the ProxyCommand.
func TestConfigCarries(t *testing.T) {
	root := newRootCmd(&app{version: "VERSION"})
	proxy, _, err := root.Find([]string{ProxyCommand})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"write", "print"} {
		cmd, _, err := root.Find([]string{"config", name})
		if err != nil {
			t.Fatal(err)
		}
		visit := func(f *pflag.Flag) {
			if !configFlag(f.Name) && f.Name != "help" && proxy.Flags().Lookup(f.Name) == nil && proxy.InheritedFlags().Lookup(f.Name) == nil {
				t.Errorf("config %s --%s is not known to the proxy", name, f.Name)
			}
		}
		cmd.Flags().VisitAll(visit)
		cmd.InheritedFlags().VisitAll(visit)
	}
	for _, name := range []string{"config-dir", "host-prefix"} {
		if proxy.Flags().Lookup(name) == nil {
			t.Errorf("the proxy has no --%s", name)
		}
	}

	var got []string
	write, _, _ := root.Find([]string{"config", "write"})
	write.RunE = func(cmd *cobra.Command, _ []string) error { got = carried(cmd); return nil }
	root.PersistentPreRunE = nil
	root.SetArgs([]string{
		"--project", "p", "config", "write", "--region=r", "-q", "--keep", "--ttl", "2h", "--wire", "http", "--service", "hello", "--file=F",
		"--set-env-vars", "A=1,B=2", "--set-env-vars", "C=a b", "--host-prefix=x-", "--impersonate-service-account=sa@p",
	})
	root.SetOut(&bytes.Buffer{})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"--impersonate-service-account=sa@p", "--keep=true", "--project=p", "--region=r", "--set-env-vars=A=1,B=2", "--set-env-vars=C=a b", "--ttl=2h0m0s", "--wire=http",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("carried (-want +got):\n%s", d)
	}
}
