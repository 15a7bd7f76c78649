package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudssh/cloudssh/images"
	"github.com/cloudssh/cloudssh/internal/emulator"
)

// TestCopy is cp end to end: both ways, between twins, as a stream, into an
// image without a shell, cut off, and killed.
func TestCopy(t *testing.T) {
	w := newWorld(t, emulator.Options{})
	bare, err := images.HelloBare(t.Context(), "amd64", "test")
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "bare", bare)
	t.Run("trees", w.copiesTrees)
	t.Run("streams", w.copiesStreams)
	t.Run("failures", w.copiesWithFailures)
	w.demandOnly(t, "hello", "bare")
	t.Run("interrupted", w.copyInterrupted)
	t.Run("killed", w.copyKilled)
}

// copiesTrees takes a tree to one twin, from there to another, whose image has
// no shell, and back.
func (w *world) copiesTrees(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	writeTree(t, src)
	up := w.cloudssh(t, "cp", "-rp", "--keep", src, "hello:/tmp/here")
	up.demand(t, 0, "left out", "copied 5 files, 2 links, 5 directories", "hello-ssh stays")
	w.cloudssh(t, "cp", "--recursive", "--preserve", "--keep", "hello:/tmp/here", "bare:/dev/shm").demand(t, 0, "bare-ssh stays")
	w.cloudssh(t, "cp", "-rp", "--keep", "bare:/dev/shm/here", "bare:/dev/shm/there").demand(t, 0)
	w.cloudssh(t, "cp", "-rpq", "bare:/dev/shm/there", filepath.Join(dir, "back")).demand(t, 0)
	if got, want := treeOf(t, filepath.Join(dir, "back")), treeOf(t, src); got != want {
		t.Errorf("the tree came back as\n%s\nwant\n%s", got, want)
	}
	_ = os.Chmod(filepath.Join(dir, "back", "read-only"), 0o755) // so that it can be removed
	w.cloudssh(t, "cleanup", "--quiet").demand(t, 0)
}

// copiesStreams is standard input and output, and the image without a shell.
func (w *world) copiesStreams(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef\x00\xff\n"), 100_000)
	p := w.start(t, "cp", "-", "bare:/dev/shm/x", "--keep")
	if _, err := io.Copy(p.stdin, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	_ = p.stdin.Close()
	p.wait().demand(t, 0, "copied 1 file, 1.8 MiB")
	back := w.cloudssh(t, "cp", "bare:/dev/shm/[x]", "-", "--quiet", "--keep")
	back.demand(t, 0)
	if back.stdout != string(content) {
		t.Errorf("%d bytes came back, want %d", len(back.stdout), len(content))
	}
	if back.stderr != "" {
		t.Errorf("quiet says %q", back.stderr)
	}
	report := w.cloudssh(t, "cp", "bare:/dev/shm/x", t.TempDir(), "--format", "json")
	report.demand(t, 0)
	var got struct{ Files, Bytes int }
	if err := json.Unmarshal([]byte(report.stdout), &got); err != nil || got.Files != 1 || got.Bytes != len(content) {
		t.Errorf("the report is %s, %v", report.stdout, err)
	}
}

func (w *world) copiesWithFailures(t *testing.T) {
	dir := t.TempDir()
	w.cloudssh(t, "cp", "hello:").demand(t, 2, "at least one source")
	w.cloudssh(t, "cp", "a", "b").demand(t, 2, "no side of the copy is a twin", "hello:/tmp/file")
	w.cloudssh(t, "cp", "-", "hello:x", "hello:y").demand(t, 2, "only source")
	w.cloudssh(t, "cp", "x", "-").demand(t, 2, "only files of a twin")
	w.cloudssh(t, "cp", "Hello:x", ".").demand(t, 2, "not the name of a service", "./Hello:x")
	w.cloudssh(t, "cp", "nothere:x", ".").demand(t, 255, "nothere")
	r := w.cloudssh(t, "cp", "hello:/nothere", "hello:README", "hello:/etc", dir, "--keep")
	r.demand(t, 1, "error: hello:/etc: is a directory (not copied without -r)", "error: hello:/nothere: file does not exist", "error: 2 of 3 were not copied")
	if b, err := os.ReadFile(filepath.Join(dir, "README")); err != nil || !bytes.Contains(b, []byte("sample service")) {
		t.Errorf("the rest was not copied: %q, %v", b, err)
	}
	w.cloudssh(t, "cp", filepath.Join(dir, "README"), "hello:/proc/version").demand(t, 1, "hello:/proc/version")
	w.cloudssh(t, "cleanup", "--quiet").demand(t, 0)
}

// copyInterrupted is Ctrl-C: here a part is kept, and gone on with; a twin that
// is deleted keeps nothing.
func (w *world) copyInterrupted(t *testing.T) {
	dir := t.TempDir()
	w.cloudssh(t, "hello", "--keep", "--exec", "dd if=/dev/zero bs=1M count=1 | tr '\\0' a > /tmp/m; for i in $(seq 60); do cat /tmp/m; done > /tmp/big").demand(t, 0)
	r, part := w.interruptedCopy(t, "hello:/tmp/big", dir)
	r.demand(t, 130, part+" holds what was copied of it", "go on from there with: cloudssh cp --keep hello:/tmp/big "+dir, "interrupted")
	w.cloudssh(t, "cp", "hello:/tmp/big", dir).demand(t, 0, "copied 1 file, 60.0 MiB", "were there already")
	b, err := os.ReadFile(filepath.Join(dir, "big"))
	if err != nil || len(b) != 60<<20 || bytes.Count(b, []byte("a")) != len(b) {
		t.Errorf("the file differs: %d bytes, %v", len(b), err)
	}
	w.cloudssh(t, "cleanup", "--quiet").demand(t, 0)
	p := w.start(t, "cp", "-", "hello:/tmp/x")
	p.until("copying to hello")
	p.signal(syscall.SIGINT)
	p.wait().demand(t, 130, "nothing of an unfinished file is kept", "interrupted")
	w.demandOnly(t, "hello", "bare")
}

// interruptedCopy interrupts a download when a good part of it is there, and
// returns how it ended, and the part. A copy can be faster than we are: then it is
// made again.
func (w *world) interruptedCopy(t *testing.T, from, dir string) (r result, part string) {
	t.Helper()
	for range 20 {
		p := w.start(t, "cp", from, dir, "--keep")
		part = awaitPart(t, p, dir, 12<<20)
		_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
		if r = p.wait(); r.code != 0 {
			return r, part
		}
		if err := os.Remove(filepath.Join(dir, filepath.Base(from))); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("every copy was faster than the signal")
	return r, ""
}

// awaitPart waits until an unfinished file has so many bytes, and returns its
// path; or until the copy has ended.
func awaitPart(t *testing.T, p *proc, dir string, size int64) string {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		found, err := filepath.Glob(filepath.Join(dir, ".*.cloudssh-part-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 {
			if fi, err := os.Stat(found[0]); err == nil && fi.Size() > size {
				return found[0]
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			return ""
		case <-limit:
			t.Fatalf("no part becomes that large; stderr:\n%s", p.stderr.String())
		}
	}
}

// copyKilled is kill -9: the guard deletes the twin.
func (w *world) copyKilled(t *testing.T) {
	p := w.start(t, "cp", "-", "hello:/tmp/x")
	p.until("copying to hello")
	guard := guardOf(t, p.cmd.Process.Pid)
	p.signal(syscall.SIGKILL)
	gone(t, guard, patience)
	w.demandOnly(t, "hello", "bare")
}

// writeTree makes a tree with some of what is odd in trees.
func writeTree(t *testing.T, root string) {
	t.Helper()
	for name, mode := range map[string]fs.FileMode{
		"plain": 0o644, ".hidden": 0o600, "run": 0o755, "new\nline \xff": 0o640, "read-only/in": 0o444,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), 1000), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"empty", "also/empty"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(2003, 4, 5, 6, 7, 8, 0, time.UTC)
	for _, name := range []string{"plain", "empty", "read-only"} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link": "plain", "loop": "../src"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "read-only"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, "read-only"), 0o755) })
}

// treeOf describes a tree: bytes, modes, times and links, but no special files.
func treeOf(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeNamedPipe != 0 {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%q -> %q", strings.TrimPrefix(path, root), content))
			return nil
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%d %x", len(b), b[:min(16, len(b))])
		}
		lines = append(lines, fmt.Sprintf("%q %v %d %s", strings.TrimPrefix(path, root), fi.Mode(), fi.ModTime().Unix(), content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
