package tool

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTar packs with this tar and unpacks with the machine's, and the other way.
func TestTar(t *testing.T) {
	dir := sample(t)
	if err := os.Link(filepath.Join(dir, "a.txt"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	second := time.Unix(1_700_000_000, 0)
	for _, name := range []string{"a.txt", "b.txt", "bin", "Makefile", "sub/.hidden", "sub/c.go", "sub/deep/d", "sub/deep", "sub", "empty", "."} {
		if err := os.Chtimes(filepath.Join(dir, name), second, second); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(dir, stdin string, args ...string) result { return run(t, dir, stdin, args...) }
	theirs := func(dir, stdin string, args ...string) result { return program(t, dir, stdin, args...) }
	for name, c := range map[string]struct {
		pack, unpack func(dir, stdin string, args ...string) result
		flags        []string
	}{
		"ours to theirs": {ours, theirs, []string{"-f", "/dev/stdout"}},
		"theirs to ours": {theirs, ours, []string{"-f", "-"}},
		"ours, gzip":     {ours, theirs, []string{"-z", "-f", "-"}},
		"theirs, gzip":   {theirs, ours, []string{"-z", "-f", "-"}},
		"ours to ours":   {ours, ours, []string{"-z"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := c.flags
			if flags[len(flags)-1] == "/dev/stdout" {
				flags = []string{"-f", "-"}
			}
			packed := c.pack(dir, "", append([]string{"tar", "-c"}, append(flags, ".")...)...)
			to := t.TempDir()
			got := c.unpack(to, packed.stdout, append([]string{"tar", "-x"}, append(flags, "-p")...)...)
			if packed.status != 0 || got.status != 0 || got.stderr != "" {
				t.Fatalf("packing: %d %s, unpacking: %d %s", packed.status, packed.stderr, got.status, got.stderr)
			}
			list := []string{"find", ".", "-printf", "%p %y %m %n %l %U\n", "!", "-type", "l", "-printf", "%T@\n", "-type", "f", "-printf", "%p %s\n"}
			want, have := program(t, dir, "", list...), program(t, to, "", list...)
			trim := sortLines
			if trim(want.stdout) != trim(have.stdout) {
				t.Errorf("got\n%s\nwant\n%s", trim(have.stdout), trim(want.stdout))
			}
			if diff := program(t, dir, "", "diff", "-r", "--no-dereference", dir, to); diff.status != 0 {
				t.Error(diff.stdout)
			}
		})
	}
}

func TestTarLists(t *testing.T) {
	dir := sample(t)
	if got := program(t, dir, "", "tar", "czf", "x.tgz", "sub", "a.txt", "link"); got.status != 0 {
		t.Fatal(got.stderr)
	}
	same(t, dir, "",
		"tar tf x.tgz", "tar -tzf x.tgz sub/deep", "tar tvf x.tgz a.txt", "tar -tvf x.tgz --numeric-owner", "tar xOf x.tgz a.txt", "tar xf gone.tar",
		"tar -tf x.tgz --exclude=*.go", "tar tf a.txt", "tar xvzf x.tgz -C empty --strip-components=1", "tar cvf out.tar sub a.txt", "tar cf o.tar gone")
}

// TestTarStaysInside unpacks what wants to be somewhere else.
func TestTarStaysInside(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	outside := t.TempDir()
	for _, h := range []tar.Header{
		{Name: "../up", Typeflag: tar.TypeReg, Size: 1},
		{Name: "out", Typeflag: tar.TypeSymlink, Linkname: outside},
		{Name: "out/evil", Typeflag: tar.TypeReg, Size: 1},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		{Name: "/abs", Typeflag: tar.TypeReg, Size: 1},
	} {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 1 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "to")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	got := run(t, to, b.String(), "tar", "x")
	if got.status != 2 || !strings.Contains(got.stderr, "out/evil") {
		t.Errorf("tar has not refused: %+v", got)
	}
	for _, path := range []string{filepath.Join(dir, "up"), filepath.Join(outside, "evil"), filepath.Join(to, "hard")} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s was made", path)
		}
	}
	for _, path := range []string{"up", "abs"} {
		if _, err := os.Lstat(filepath.Join(to, path)); err != nil {
			t.Error(err)
		}
	}
}

func TestGzip(t *testing.T) {
	dir := sample(t)
	packed := run(t, dir, "", "gzip", "-c", "b.txt")
	if got := program(t, dir, packed.stdout, "gunzip"); got.stdout != strings.Repeat("a line of text\n", 30) {
		t.Errorf("gzip: %+v", got)
	}
	for _, command := range []string{"gzip b.txt", "gzip -t b.txt.gz", "gunzip -k b.txt.gz", "gzip -f b.txt"} {
		if got := run(t, dir, "", words(command)...); got.status != 0 || got.stderr != "" {
			t.Errorf("%s: %+v", command, got)
		}
	}
	same(t, dir, packed.stdout, "zcat", "zcat b.txt.gz", "gzip -dc b.txt.gz", "gzip -dc a.txt", "zcat gone", "gunzip")
}
