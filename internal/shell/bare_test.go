//go:build linux

package shell

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBareSurroundings has the shell work where next to nothing is there.
func TestBareSurroundings(t *testing.T) {
	t.Run("no variables", func(t *testing.T) {
		cmd := command(t, "-lc", `echo "$HOME" ~ "[$TERM]"; cd; pwd; ls -d /; x=$(echo sub); echo $x | cat`)
		cmd.Env = []string{}
		run(t, cmd).want(t, "/ / []\n/\n/\nsub\n", 0)
	})
	t.Run("no working directory", func(t *testing.T) {
		gone := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(gone, 0o700); err != nil {
			t.Fatal(err)
		}
		outer := command(t)
		outer.Path, outer.Args = "/bin/sh", []string{"sh", "-c", `cd "$1" && rmdir "$1" && exec "$0" -c 'pwd; echo $(echo sub); ls -d .; cd /usr; pwd'`, called(t, t.TempDir()), gone}
		run(t, outer).want(t, "/\nsub\n.\n/usr\n", 0)
	})
	t.Run("closed stdin", func(t *testing.T) {
		link := called(t, t.TempDir())
		cmd := command(t)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `exec "$0" -c 'read x; echo $?; cat; echo $(echo sub) | cat; /bin/echo out; echo err >&2' <&-`, link}
		got := run(t, cmd)
		if !strings.HasSuffix(got.out, "sub\nout\n") || got.status != 0 || got.err == "" {
			t.Errorf("got %+v", got)
		}
		cmd = command(t)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `exec "$0" <&-`, link}
		if got := run(t, cmd); got.status > 2 {
			t.Errorf("a shell without commands: got %+v", got)
		}
	})
	t.Run("no TERM", func(t *testing.T) {
		cmd := command(t)
		cmd.Env = append(slices.DeleteFunc(cmd.Env, func(kv string) bool {
			return strings.HasPrefix(kv, "TERM=") || strings.HasPrefix(kv, "HOME=")
		}), "PS1="+prompt, "HISTFILE=") // its home is /
		c := startConsole(t, cmd, 60, 10)
		c.ends(prompt)
		c.types("echp\x7fo hello; cat\r")
		c.ends("\nhello") // not the one that is being typed
		c.types("\x04")
		c.ready("hello")
		c.types("exit 4\r")
		c.exits(4)
	})
}

// called is a name for this program by which it is the shell.
func called(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "cloudssh-shell")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// TestNoTmp finds a place for the pipes of <(...) where /tmp cannot be written.
func TestNoTmp(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "unshare", "-m", "mount", "-t", "tmpfs", "none", "/tmp").CombinedOutput(); err != nil {
		t.Skipf("this machine lets nobody hide /tmp: %v: %s", err, out)
	}
	self, err := os.ReadFile("/proc/self/exe") // which may be in /tmp
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "") //nolint:usetesting // that would be in /tmp
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "cloudssh-shell")
	if err := os.WriteFile(file, self, 0o700); err != nil {
		t.Fatal(err)
	}
	const script = "cat <(echo pipe); cat <<A\nhere\nA\necho $(echo sub)"
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", `mount -t tmpfs -o ro none /tmp && exec "$0" -c "$1"`, file, script)
	cmd.Dir, cmd.Env = dir, command(t).Env
	run(t, cmd).want(t, "pipe\nhere\nsub\n", 0)
}
