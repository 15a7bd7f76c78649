//go:build linux || darwin

package sftp

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	pkgsftp "github.com/pkg/sftp"
)

// client runs a program of OpenSSH against this package's server, started as a
// program of its own that serves dir.
func client(t *testing.T, dir, input, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(input)
	// With the race detector a program sleeps for a second at its end, to report.
	cmd.Env = append(os.Environ(), serverVariable+"="+dir, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tree makes files of all kinds below a new directory.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	big := bytes.Repeat([]byte("0123456789abcdef\x00\n"), 300_000)
	for name, text := range map[string][]byte{"big": big, "sub/new\nline": []byte("x"), "sub/deep/empty": nil, "sub/\xff\xfe": []byte("bytes"), "-rf *": []byte("y")} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "big"), 0o751); err != nil {
		t.Fatal(err)
	}
	return dir
}

func same(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", a, b).CombinedOutput(); err != nil {
		t.Errorf("%v\n%.2000s", err, out)
	}
}

func TestSCP(t *testing.T) {
	from, served, back := tree(t), t.TempDir(), t.TempDir()
	if out, err := client(t, served, "", "scp", "-rp", "-D", os.Args[0], from, "host:there"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, from, filepath.Join(served, "there"))
	if out, err := client(t, served, "", "scp", "-rp", "-D", os.Args[0], "host:there", back); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, from, filepath.Join(back, "there"))
	a, err := os.Stat(filepath.Join(from, "big"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(back, "there/big"))
	if err != nil || b.Mode() != a.Mode() || b.ModTime().Unix() != a.ModTime().Unix() {
		t.Errorf("%v, %v, want %v, %v", b.Mode(), b.ModTime(), a.Mode(), a.ModTime())
	}
	if out, err := client(t, served, "", "scp", "-D", os.Args[0], "host:none", back); err == nil || !strings.Contains(out, "No such file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Commands of sftp; after "=>" what they must print. Those with a hyphen in
// front must fail.
const batch = `
pwd => Remote working directory: DIR
put -p FROM/big a
put -rp FROM tree
ls -l a => rwxr-x--x
ls -1 tree/sub => deep
get -p a BACK/a
get -r tree BACK/tree
!truncate -s 1000000 BACK/a
reget a BACK/a
put FROM/big half
!truncate -s 1000000 DIR/half
reput FROM/big half
rename a b
-rename none x => No such file
mkdir d
-mkdir d => Failure
ln b hard
ln -s b soft
ls -la => soft
chmod 4711 b
ls -l b => rws--x--x
chown 0 b
chgrp 0 b
chown -h 0 soft
-chmod -h 700 soft => Operation unsupported
df => %Capacity
df -hi d => Inodes
copy b c
-rmdir none => No such file
-rmdir tree => Failure
rm c
rmdir d
cd tree/sub
pwd => DIR/tree/sub
lcd BACK
get deep/empty
cd ..
put -f FROM/big ../synced
version => SFTP protocol version 3
`

func TestSFTPBatch(t *testing.T) {
	from, back := tree(t), t.TempDir()
	served, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("FROM", from, "BACK", back, "DIR", served).Replace(batch)
	lines := strings.Split(strings.TrimSpace(script), "\n")
	var input strings.Builder
	for _, line := range lines {
		command, _, _ := strings.Cut(line, " =>")
		input.WriteString(command + "\n")
	}
	out, err := client(t, served, input.String(), "sftp", "-b", "-", "-D", os.Args[0])
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := strings.Split(out, "sftp> ")[1:]
	for i, line := range lines {
		if command, want, _ := strings.Cut(line, " => "); !strings.HasPrefix(said[i], command) || !strings.Contains(said[i][len(command):], want) {
			t.Errorf("want %q in\n%s", want, said[i])
		}
	}
	same(t, from, filepath.Join(served, "tree"))
	same(t, from, filepath.Join(back, "tree"))
	for _, file := range []string{filepath.Join(back, "a"), filepath.Join(served, "b"), filepath.Join(served, "half"), filepath.Join(served, "synced")} {
		same(t, filepath.Join(from, "big"), file)
	}
}

// The library's client sends its requests at once, and writes from many
// goroutines.
func TestLibraryClient(t *testing.T) {
	dir := t.TempDir()
	near, far := socketPair(t)
	served := make(chan error, 1)
	go func() {
		served <- Serve(far, Options{Dir: dir})
		far.Close()
	}()
	c, err := pkgsftp.NewClientPipe(near, near, pkgsftp.UseConcurrentWrites(true))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("some text "), 1_000_000)
	f, err := c.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadFrom(bytes.NewReader(want)); err != nil || n != int64(len(want)) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := f.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(want), err)
	}
	if err := f.Truncate(5); err != nil {
		t.Error(err)
	}
	if info, err := c.Stat("file"); err != nil || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}
	if err := c.PosixRename("file", "other"); err != nil {
		t.Error(err)
	}
	if err := c.MkdirAll("a/b/c"); err != nil {
		t.Error(err)
	}
	if infos, err := c.ReadDir("."); err != nil || len(infos) != 2 {
		t.Errorf("%v, %v", infos, err)
	}
	if _, err := c.Open("none"); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, err := c.StatVFS("."); err != nil {
		t.Error(err)
	}
	if err := c.RemoveAll("a"); err != nil {
		t.Error(err)
	}
	// Files left open do not keep the server.
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
