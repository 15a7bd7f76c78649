//go:build linux || darwin

package scp

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serverVariable makes this test binary the ssh of OpenSSH's scp: it serves the
// last argument in the directory that the variable names.
const serverVariable = "SCP_TEST_DIR"

func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(serverVariable)
	if !ok {
		os.Exit(m.Run()) //nolint:forbidigo // this is a main
	}
	line := os.Args[len(os.Args)-1]
	c, ok := Parse(line, testEnvironment(dir))
	if !ok {
		fmt.Fprintf(os.Stderr, "not understood: %s\n", line)
		os.Exit(127) //nolint:forbidigo // this is a main
	}
	os.Exit(c.Serve(os.Stdin, os.Stdout, os.Stderr, dir)) //nolint:forbidigo // this is a main
}

func testEnvironment(home string) Environment {
	return Environment{
		Getenv: func(name string) string { return map[string]string{"SPACE": "a b", "STAR": "*.txt"}[name] },
		Home: func(user string) (string, bool) {
			return home, user == "" || user == "someone"
		},
	}
}

// scp runs OpenSSH's client against us; the host is any name. It wants it to end
// with this status.
func scp(t *testing.T, dir string, want int, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "scp", append([]string{"-O", "-S", self}, args...)...)
	// With the race detector a program sleeps for a second at its end, to report.
	cmd.Env = append(os.Environ(), serverVariable+"="+dir, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("scp %q: status %d, want %d\n%s", args, got, want, out)
	}
	return string(out)
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, want %d, %v", path, len(got), len(want), err)
	}
}

func random(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func TestFiles(t *testing.T) {
	local, remote := t.TempDir(), t.TempDir()
	for _, size := range []int{0, 1, holeSize, bufferSize + 1, 3*bufferSize - 7} {
		want := random(size)
		write(t, local+"/from", want)
		scp(t, remote, 0, local+"/from", "host:there")
		expect(t, remote+"/there", want)
		scp(t, remote, 0, "host:there", local+"/back")
		expect(t, local+"/back", want)
	}
	write(t, local+"/a", []byte("a"))
	write(t, local+"/b", []byte("b"))
	scp(t, remote, 0, local+"/a", local+"/b", "host:.")
	expect(t, remote+"/b", []byte("b"))
	if out := scp(t, remote, 1, local+"/a", local+"/b", "host:there"); !strings.Contains(out, "there: Not a directory") {
		t.Errorf("two files to one: %q", out)
	}
	// Onto itself: it must not be truncated before it is read.
	want := random(bufferSize)
	write(t, remote+"/same", want)
	scp(t, remote, 0, remote+"/same", "host:same")
	expect(t, remote+"/same", want)
	// Shorter than what was there.
	scp(t, remote, 0, local+"/a", "host:same")
	expect(t, remote+"/same", []byte("a"))
}

func TestNames(t *testing.T) {
	local, remote := t.TempDir(), t.TempDir()
	for _, name := range []string{"two  words", "it's", `"q"`, `back\slash`, "$HOME", "*", "a[b]c", "{a,b}", "-n", "~", "new\nline", "\xff\xfe", "名前", ";id", "#x", "a'b\"c"} {
		content := []byte(name)
		write(t, local+"/up/"+name, content)
		write(t, remote+"/down/"+name, content)
		// As PuTTY's and others' libraries quote for a shell.
		quoted := "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
		scp(t, remote, 0, local+"/up/"+name, "host:down/"+quoted+".up")
		expect(t, remote+"/down/"+name+".up", content)
		if strings.ContainsAny(name, "\\\n") {
			continue // the client compares what comes with what it asked for
		}
		scp(t, remote, 0, "-T", "host:down/"+quoted, local+"/down")
		expect(t, local+"/down", content)
	}
	scp(t, remote, 0, "-r", "host:down", local+"/all")
	entries, err := os.ReadDir(local + "/all")
	if err != nil || len(entries) != 32 {
		t.Errorf("%d of 32 odd names arrived, %v", len(entries), err)
	}
	expect(t, local+`/all/new\^Jline`, []byte("new\nline"))
}

func TestExpansion(t *testing.T) {
	remote := t.TempDir()
	for _, name := range []string{"1.txt", "2.txt", ".hidden.txt", "a b", "d/1.txt", "d/x", "e/1.txt"} {
		write(t, remote+"/"+name, []byte(name))
	}
	for pattern, want := range map[string]string{
		"*.txt":         "1.txt 2.txt",
		"[!1].txt":      "2.txt",
		"?.txt":         "1.txt 2.txt",
		"$STAR":         "1.txt 2.txt",
		`a\ b`:          "a b",
		`"$SPACE"`:      "a b",
		"~/1.txt":       "1.txt",
		"~someone/1*":   "1.txt",
		"{1,2}.txt":     "1.txt 2.txt",
		"d/* [12].txt":  "1.txt 2.txt x",
		".*.txt":        ".hidden.txt",
		"${NO}1.txt":    "1.txt",
		"'d'/[a-z]":     "x",
		remote + "/d/x": "x",
	} {
		local := t.TempDir()
		scp(t, remote, 0, "-T", "host:"+pattern, local)
		var names []string
		entries, err := os.ReadDir(local)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != want || err != nil {
			t.Errorf("%s: %s, want %s, %v", pattern, got, want, err)
		}
	}
	local := t.TempDir()
	if out := scp(t, remote, 1, "host:no*", local); !strings.Contains(out, "no*: No such file or directory") {
		t.Errorf("no match: %q", out)
	}
	if out := scp(t, remote, 1, "host:d", local); !strings.Contains(out, "not a regular file") {
		t.Errorf("a directory without -r: %q", out)
	}
	if out := scp(t, remote, 1, remote+"/1.txt", "host:*.txt"); !strings.Contains(out, "ambiguous target") {
		t.Errorf("two targets: %q", out)
	}
}

// tree makes a directory with modes and times of its own.
func tree(t *testing.T, root string) {
	t.Helper()
	write(t, root+"/f", []byte("f"))
	write(t, root+"/sub/run", []byte("#!/bin/sh\n"))
	write(t, root+"/locked/x", []byte("x"))
	if err := os.Symlink("f", root+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{
		"f": 0o400, "sub/run": 0o755 | fs.ModeSetuid | fs.ModeSetgid, "locked": 0o555, "sub": 0o777,
	} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f", "sub/run", "locked/x", "locked", "sub", "."} {
		then := time.Unix(1_000_000_000+int64(len(name)), 0)
		if err := os.Chtimes(filepath.Join(root, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// listing is the names, modes and, if asked for, times below root.
func listing(t *testing.T, root string, times bool) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", strings.TrimPrefix(path, root), info.Mode())
		if times {
			fmt.Fprintf(&b, " %d", info.ModTime().Unix())
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTrees(t *testing.T) {
	from, remote, local := t.TempDir()+"/tree", t.TempDir(), t.TempDir()
	tree(t, from)
	scp(t, remote, 0, "-rp", from, "host:up")
	want := strings.ReplaceAll(listing(t, from, true), "/link Lrwxrwxrwx", "/link -r--------")
	strip := func(text string) string { // a link's own time is not that of its file
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "/link") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	if got := listing(t, remote+"/up", true); strip(got) != strip(want) || !strings.Contains(got, "/link -r--------") {
		t.Errorf("up:\n%s\nwant\n%s", got, want)
	}
	scp(t, remote, 0, "-rp", "host:up", local)
	if got := listing(t, local+"/up", true); strip(got) != strip(want) {
		t.Errorf("down:\n%s\nwant\n%s", got, want)
	}
	// Without -p: the umask, and nothing setuid.
	scp(t, remote, 0, "-r", from, "host:plain")
	got := listing(t, remote+"/plain", false)
	for _, line := range []string{"/f -r--------", "/sub drwxr-xr-x", "/sub/run -rwxr-xr-x", "/locked dr-xr-xr-x"} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	// Into what is there already.
	scp(t, remote, 0, "-rp", from+"/sub", from+"/f", "host:up")
	if out := scp(t, remote, 1, "-r", from, "host:up/f"); !strings.Contains(out, "Not a directory") {
		t.Errorf("a directory onto a file: %q", out)
	}
}

func TestLinkLoop(t *testing.T) {
	remote, local := t.TempDir(), t.TempDir()
	write(t, remote+"/d/e/x", []byte("x"))
	for name, target := range map[string]string{"d/e/up": "..", "d/self": "self", "d/none": "nothing"} {
		if err := os.Symlink(target, remote+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	out := scp(t, remote, 1, "-r", "host:d", local)
	for _, want := range []string{"d/e/up: it is a link to a directory it lies in", "d/self: Too many levels", "d/none: No such file"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	expect(t, local+"/d/e/x", []byte("x"))
}

// The files beside one that fails arrive.
func TestErrorsKeepStep(t *testing.T) {
	local, remote := t.TempDir(), t.TempDir()
	for _, name := range []string{"1", "2", "3", "4"} {
		write(t, local+"/"+name, random(100_000))
	}
	if err := os.Mkdir(remote+"/2", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("no/where", remote+"/3"); err != nil {
		t.Fatal(err)
	}
	out := scp(t, remote, 1, local+"/1", local+"/2", local+"/3", local+"/4", "host:.")
	if !strings.Contains(out, "2: Is a directory") || !strings.Contains(out, "3: No such file or directory") {
		t.Errorf("%q", out)
	}
	expect(t, remote+"/1", random(100_000))
	expect(t, remote+"/4", random(100_000))
	fifo := remote + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := scp(t, remote, 1, "-T", "host:{fifo,none,1}", local); !strings.Contains(out, "fifo: not a regular file") {
		t.Errorf("%q", out)
	}
	if out := scp(t, remote, 1, local+"/1", "host:fifo"); !strings.Contains(out, "fifo: No such device") {
		t.Errorf("%q", out)
	}
}

func TestFullFileSystem(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("mounting a small file system takes root and Linux")
	}
	local, remote := t.TempDir(), t.TempDir()
	mount := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", remote)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Fatalf("mounting: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// A client that has failed does not wait for its ssh, which may not be gone.
		if err := exec.Command("umount", "--lazy", remote).Run(); err != nil {
			t.Error(err)
		}
	})
	write(t, local+"/big", random(3<<20))
	write(t, local+"/small", []byte("small"))
	write(t, remote+"/old/big", []byte("old"))
	out := scp(t, remote, 1, local+"/big", local+"/small", "host:.")
	if !strings.Contains(out, "big: No space left on device") {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(remote + "/big"); err == nil {
		t.Error("an incomplete file stays")
	}
	expect(t, remote+"/small", []byte("small"))
	if out := scp(t, remote, 1, local+"/big", "host:old"); !strings.Contains(out, "No space left on device; what is there now is incomplete") {
		t.Errorf("over an old file: %q", out)
	}
	remount := exec.CommandContext(t.Context(), "mount", "-o", "remount,ro", remote)
	if out, err := remount.CombinedOutput(); err != nil {
		t.Fatalf("remounting: %v: %s", err, out)
	}
	for _, args := range [][]string{{local + "/small", "host:new"}, {"-r", local, "host:newdir"}, {local + "/small", "host:small"}} {
		if out := scp(t, remote, 1, args...); !strings.Contains(out, "Read-only file system") {
			t.Errorf("%q: %q", args, out)
		}
	}
}

// A file of 5 GiB that takes no room, in both directions.
func TestSparse(t *testing.T) {
	if os.Getenv("SCP_TEST_LARGE") == "" {
		t.Skip("SCP_TEST_LARGE is not set")
	}
	testSparse(t, 5<<30)
}

func TestSparseSmall(t *testing.T) { testSparse(t, 20<<20) }

func testSparse(t *testing.T, size int64) {
	t.Helper()
	local, remote := t.TempDir(), t.TempDir()
	f, err := os.Create(local + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("middle"), size/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	scp(t, remote, 0, local+"/sparse", "host:sparse")
	info, err := os.Stat(remote + "/sparse")
	if err != nil || info.Size() != size {
		t.Fatalf("%v, %v", info, err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks*512 > 1<<20 {
		t.Errorf("%d bytes take %d", size, blocks*512)
	}
	scp(t, remote, 0, "host:sparse", local+"/back")
	if out, err := exec.CommandContext(t.Context(), "cmp", local+"/sparse", local+"/back").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
