package runtime

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"
)

func needRoot(tb testing.TB) {
	tb.Helper()
	if why := privileged(); why != nil {
		tb.Skipf("SKIPPED, NOT TESTED: %v", why)
	}
}

// unpackAll applies layers to a new directory.
func unpackAll(t *testing.T, layers ...[]entry) (string, error) {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	tr, err := openTree(root)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for _, l := range layers {
		if err := unpackLayer(t.Context(), tr, bytes.NewReader(archive(t, l...))); err != nil {
			return root, err
		}
	}
	return root, nil
}

// list returns all paths of a tree, links with their target.
func list(t *testing.T, root string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		line := strings.TrimPrefix(name, root+"/")
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += "->" + target
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func TestUnpack(t *testing.T) {
	base := []entry{dir("etc", 0o755), file("etc/a", "a"), file("etc/b", "b"), dir("lib", 0o755), file("lib/x", "x")}
	for name, test := range map[string]struct {
		layers [][]entry
		want   string
	}{
		"directories are made":    {[][]entry{{file("a/b/c", "")}}, "a a/b a/b/c"},
		"names with dots":         {[][]entry{{file("./a/../b", ""), file("/c", "")}}, "b c"},
		"whiteout":                {[][]entry{base, {file("etc/.wh.a", ""), file(".wh.lib", "")}}, "etc etc/b"},
		"whiteout of nothing":     {[][]entry{base, {file("etc/.wh.z", "")}}, "etc etc/a etc/b lib lib/x"},
		"opaque":                  {[][]entry{base, {file("etc/.wh..wh..opq", ""), file("etc/c", "")}}, "etc etc/c lib lib/x"},
		"opaque at the end":       {[][]entry{base, {file("etc/c", ""), file("etc/.wh..wh..opq", "")}}, "etc etc/c lib lib/x"},
		"aufs metadata":           {[][]entry{{file(".wh..wh.plnk", ""), file("a", "")}}, "a"},
		"file becomes directory":  {[][]entry{base, {dir("etc/a", 0o755), file("etc/a/b", "")}}, "etc etc/a etc/a/b etc/b lib lib/x"},
		"directory becomes link":  {[][]entry{base, {symlink("lib", "etc"), file("lib/new", "")}}, "etc etc/a etc/b etc/new lib->etc"},
		"directory stays":         {[][]entry{base, {dir("etc", 0o700)}}, "etc etc/a etc/b lib lib/x"},
		"absolute link inside":    {[][]entry{{dir("run", 0o755), symlink("var", "/run"), file("var/x", "")}}, "run run/x var->/run"},
		"dangling link is filled": {[][]entry{{symlink("var", "/run/deep"), file("var/x", "")}}, "run run/deep run/deep/x var->/run/deep"},
		"hard link to a lower layer": {
			[][]entry{base, {hardlink("etc/c", "etc/a")}}, "etc etc/a etc/b etc/c lib lib/x",
		},
		"pipe": {[][]entry{{entry{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo}}}}, "p"},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := unpackAll(t, test.layers...)
			if err != nil {
				t.Fatal(err)
			}
			if got := list(t, root); got != test.want {
				t.Errorf("tree %q, want %q", got, test.want)
			}
		})
	}
}

// TestUnpackStaysInside writes through every kind of link that leads out of the tree.
func TestUnpackStaysInside(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, layer := range map[string][]entry{
		"name with dots":      {file("../../../../../../../.."+victim, "evil")},
		"absolute name":       {file(victim, "evil")},
		"absolute link":       {symlink("out", outside), file("out/victim", "evil")},
		"relative link":       {symlink("out", "../../../../../../../.."+outside), file("out/victim", "evil")},
		"link of links":       {symlink("a", "b"), symlink("b", outside), file("a/victim", "evil")},
		"link to the file":    {symlink("victim", victim), file("victim", "evil")},
		"whiteout by link":    {symlink("out", outside), file("out/.wh.victim", "")},
		"whiteout by dots":    {file("../../../../../../../../"+outside+"/.wh.victim", "")},
		"opaque by link":      {symlink("out", outside), file("out/.wh..wh..opq", "")},
		"mode by a link":      {symlink("out", outside), dir("out/.", 0o777)},
		"hard link to it":     {hardlink("h", victim)},
		"hard link over dots": {hardlink("h", "../../../../../../../.."+victim)},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := unpackAll(t, layer)
			t.Logf("%s, %v", list(t, root), err)
			text, readErr := os.ReadFile(victim)
			if readErr != nil || string(text) != "untouched" {
				t.Fatalf("outside of the tree: %q, %v", text, readErr)
			}
			var st unix.Stat_t
			if err := unix.Stat(victim, &st); err != nil || st.Nlink != 1 || st.Mode&0o777 != 0o600 {
				t.Errorf("outside of the tree: %d links, mode %o, %v", st.Nlink, st.Mode, err)
			}
		})
	}
}

func TestUnpackErrors(t *testing.T) {
	for name, test := range map[string]struct {
		layer []entry
		says  string
	}{
		"whiteout of the parent": {[]entry{file("a/.wh...", "")}, `whiteout of ".."`},
		"below a file":           {[]entry{file("a", ""), file("a/b", "")}, "writing /a/b: not a directory"},
		"hard link to nothing":   {[]entry{hardlink("a", "b")}, "writing /a: linking to b: no such file or directory"},
		"loop":                   {[]entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, "too many levels of symbolic links"},
	} {
		if _, err := unpackAll(t, test.layer); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want %q", name, err, test.says)
		}
	}
	tr, err := openTree(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	cut := archive(t, file("a", strings.Repeat("x", 4096)))[:1024]
	if err := unpackLayer(t.Context(), tr, bytes.NewReader(cut)); err == nil {
		t.Error("a layer that is cut off is accepted")
	}
}

func TestUnpackMetadata(t *testing.T) {
	mtime := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	program := tar.Header{
		Name: "d/p", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 33, Gid: 34, ModTime: mtime,
		PAXRecords: map[string]string{"SCHILY.xattr.user.note": "hello"}, Format: tar.FormatPAX,
	}
	root, err := unpackAll(t, []entry{
		{Header: tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 5, ModTime: mtime}},
		{Header: program, content: "x"},
		{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
		{Header: tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/gone", Uid: 7, ModTime: mtime}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode, uid, gid uint32
		mtime          bool
	}{
		"d":    {unix.S_IFDIR | 0o1777, 5, 0, true},
		"d/p":  {unix.S_IFREG | 0o4755, 33, 34, true},
		"null": {unix.S_IFCHR | 0o666, 0, 0, false},
		"l":    {unix.S_IFLNK | 0o777, 7, 0, true},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s: mode %o, owner %d:%d, want %+v", name, st.Mode, st.Uid, st.Gid, want)
		}
		if got := time.Unix(st.Mtim.Unix()); want.mtime && !got.Equal(mtime) {
			t.Errorf("%s: time %v", name, got)
		}
	}
	note := make([]byte, 16)
	if n, err := unix.Lgetxattr(filepath.Join(root, "d/p"), "user.note", note); err != nil || string(note[:n]) != "hello" {
		t.Errorf("attribute %q, %v", note[:max(n, 0)], err)
	}
}

func storeOf(t *testing.T, dir string) *imageStore {
	t.Helper()
	needRoot(t)
	s := &imageStore{dir: filepath.Join(dir, "images"), tmp: filepath.Join(dir, "tmp"), busy: map[string]chan struct{}{}}
	for _, d := range []string{s.dir, s.tmp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestImagesShareLayers: an image on top of another one unpacks only what it adds, and
// changes nothing of the other.
func TestImagesShareLayers(t *testing.T) {
	s := storeOf(t, t.TempDir())
	base := imageOf(t, layerOf(t, file("keep", "1"), file("change", "old"), file("remove", ""), dir("d", 0o700)))
	twin := appendTo(t, base, layerOf(t, file("change", "new"), file(".wh.remove", ""), dir("d", 0o755), file("d/add", "")))
	first, err := s.rootfs(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.rootfs(t.Context(), twin)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, first), "change d keep remove"; got != want {
		t.Errorf("base %q, want %q", got, want)
	}
	if got, want := list(t, second), "change d d/add keep"; got != want {
		t.Errorf("twin %q, want %q", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(first, "change")); err != nil || string(text) != "old" {
		t.Errorf("the base has now %q, %v", text, err)
	}
	if !sameFile(t, filepath.Join(first, "keep"), filepath.Join(second, "keep")) {
		t.Error("what both have is there twice")
	}
	if info, err := os.Stat(filepath.Join(first, "d")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the base's directory has now mode %v, %v", info.Mode(), err)
	}
	configured, err := mutate.Config(twin, v1.Config{Env: []string{"A=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if third, err := s.rootfs(t.Context(), configured); err != nil || third != second {
		t.Errorf("another configuration of the same layers is %s, %v", third, err)
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if err := errors.Join(errX, errY); err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

func TestImageWithoutLayers(t *testing.T) {
	s := storeOf(t, t.TempDir())
	root, err := s.rootfs(t.Context(), imageOf(t))
	if err != nil || list(t, root) != "" {
		t.Errorf("an image without layers: %v", err)
	}
}

// TestImageDiskFull leaves nothing behind and says what is full.
func TestImageDiskFull(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := mountTmpfs(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	s := storeOf(t, dir)
	_, err := s.rootfs(t.Context(), imageOf(t, layerOf(t, file("small", "x"), file("big", strings.Repeat("x", 2<<20)))))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want ENOSPC", err)
	}
	for _, part := range []string{"unpacking layer sha256:", " in " + s.tmp, "writing /big: no space left on device"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if got := list(t, dir); got != "images tmp" {
		t.Errorf("left: %s", got)
	}
}

// wrongLayer says that it has another layer's content.
type wrongLayer struct {
	v1.Layer
	says v1.Hash
}

func (l wrongLayer) DiffID() (v1.Hash, error) { return l.says, nil }

func TestImageDigestIsChecked(t *testing.T) {
	s := storeOf(t, t.TempDir())
	says, err := layerOf(t, file("a", "")).DiffID()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.rootfs(t.Context(), imageOf(t, wrongLayer{layerOf(t, file("evil", "")), says}))
	if err == nil || !strings.Contains(err.Error(), "content has digest sha256:") {
		t.Errorf("error %v", err)
	}
	if got := list(t, filepath.Dir(s.dir)); got != "images tmp" {
		t.Errorf("left: %s", got)
	}
}

func TestImageCancelled(t *testing.T) {
	s := storeOf(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.rootfs(ctx, imageOf(t, layerOf(t, file("a", "")))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := list(t, filepath.Dir(s.dir)); got != "images tmp" {
		t.Errorf("left: %s", got)
	}
}

func TestCopyTree(t *testing.T) {
	root, err := unpackAll(t, []entry{
		dir("d", 0o1777), executable("d/a", "text"), hardlink("d/b", "d/a"), symlink("l", "/gone"),
		{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600, Uid: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := copyTree(t.Context(), root, to, ownInodes); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, to), list(t, root); got != want {
		t.Errorf("copy %q, want %q", got, want)
	}
	if sameFile(t, filepath.Join(root, "d/a"), filepath.Join(to, "d/a")) {
		t.Error("the copy shares a file with the original")
	}
	if !sameFile(t, filepath.Join(to, "d/a"), filepath.Join(to, "d/b")) {
		t.Error("a hard link became a copy")
	}
	info, err := os.Stat(filepath.Join(to, "d"))
	if err != nil || info.Mode()&fs.ModeSticky == 0 || info.Mode().Perm() != 0o777 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
