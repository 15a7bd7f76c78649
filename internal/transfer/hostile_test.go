//go:build unix

package transfer_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/cloudssh/cloudssh/internal/transfer"
)

// entry is a file of a server that does as it likes.
type entry struct {
	name string
	mode fs.FileMode
	size int64
}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) Mode() fs.FileMode  { return e.mode }
func (e entry) ModTime() time.Time { return time.Unix(1e9, 0) }
func (e entry) IsDir() bool        { return e.mode.IsDir() }
func (e entry) Sys() any           { return nil }

// hostile answers by functions; what has none works for everything.
type hostile struct {
	list  func(path string) []os.FileInfo
	stat  func(path string) (os.FileInfo, error)
	read  func(path string) (io.ReaderAt, error)
	open  func(path string) error // for writing
	write func(path string, p []byte, off int64) error
	cmd   func(r *sftp.Request) error
}

type listing []os.FileInfo

func (l listing) ListAt(to []os.FileInfo, at int64) (int, error) {
	if at >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[at:])
	if at+int64(n) == int64(len(l)) {
		return n, io.EOF
	}
	return n, nil
}

func (h hostile) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "List" {
		return listing(h.list(r.Filepath)), nil
	}
	if r.Method == "Readlink" {
		return listing{entry{name: "/etc"}}, nil
	}
	fi, err := h.stat(r.Filepath)
	if err != nil {
		return nil, err
	}
	return listing{fi}, nil
}

func (h hostile) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if h.read == nil {
		return strings.NewReader("evil"), nil
	}
	return h.read(r.Filepath)
}

func (h hostile) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if h.open != nil {
		if err := h.open(r.Filepath); err != nil {
			return nil, err
		}
	}
	return writer{h, r.Filepath}, nil
}

func (h hostile) Filecmd(r *sftp.Request) error {
	if h.cmd == nil {
		return nil
	}
	return h.cmd(r)
}

type writer struct {
	h    hostile
	path string
}

func (w writer) WriteAt(p []byte, off int64) (int, error) {
	if err := w.h.write(w.path, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h hostile) serve(t *testing.T) *server {
	t.Helper()
	return serveWith(t, "r", "", func(c net.Conn) error {
		return sftp.NewRequestServer(c, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}).Serve()
	})
}

func isRoot(path string) (os.FileInfo, error) {
	return entry{name: "src", mode: fs.ModeDir | 0o755}, nil
}

// TestHostileNames: nothing is written outside the destination.
func TestHostileNames(t *testing.T) {
	bad := []string{"../up", "..", "../..", "/tmp/absolute", "a/b", "sub/", "twice", "twice", "nul\x00", "", "..//.."}
	h := hostile{stat: isRoot, list: func(path string) []os.FileInfo {
		if path != "/src" {
			return []os.FileInfo{entry{name: "passwd", mode: 0o644, size: 4}}
		}
		var l listing
		for _, name := range bad {
			l = append(l, entry{name: name, mode: 0o644, size: 4})
		}
		return append(l, entry{name: "good", mode: 0o644, size: 4},
			entry{name: "link", mode: fs.ModeSymlink | 0o777}, entry{name: "link", mode: fs.ModeDir | 0o755})
	}}
	r, home := h.serve(t), t.TempDir()
	dst := filepath.Join(home, "a", "dst")
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/src")}, local(dst), transfer.Options{Recursive: true})
	var failed *transfer.FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	for _, f := range failed.Failures {
		if !strings.Contains(f.Err.Error(), "refused") {
			t.Errorf("%s: %v", f.Path, f.Err)
		}
	}
	// "." and ".." the library drops itself, before we see them.
	if want := len(bad) - 1 - 1 + 1; len(failed.Failures) != want {
		t.Errorf("%d were refused, want %d:\n%v", len(failed.Failures), want, err)
	}
	if got := strings.Join(names(t, dst), " "); got != "good link twice" {
		t.Errorf("there are %q", got)
	}
	if got := names(t, filepath.Dir(dst)); len(got) != 1 {
		t.Errorf("beside the destination there are %q", got)
	}
	if fi, err := os.Lstat(filepath.Join(dst, "link")); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", fi, err)
	}
}

// TestLinkInTheWay: nothing is written through a link that is there already,
// or was made by the copy.
func TestLinkInTheWay(t *testing.T) {
	h := hostile{stat: isRoot, list: func(path string) []os.FileInfo {
		if path == "/src" {
			return []os.FileInfo{entry{name: "dir", mode: fs.ModeDir | 0o755}, entry{name: "file", mode: 0o644, size: 4}}
		}
		return []os.FileInfo{entry{name: "in", mode: 0o644, size: 4}}
	}}
	r, home := h.serve(t), t.TempDir()
	outside := filepath.Join(home, "outside")
	precious := file(t, outside, "precious", []byte("precious"), 0o644)
	dst := filepath.Join(home, "dst")
	if err := errors.Join(os.Mkdir(dst, 0o755), os.Symlink(outside, filepath.Join(dst, "dir")), os.Symlink(precious, filepath.Join(dst, "file"))); err != nil {
		t.Fatal(err)
	}
	_, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/src/.")}, local(dst), transfer.Options{Recursive: true})
	demandFailures(t, err, "a symbolic link is in the way")
	if got := names(t, outside); len(got) != 1 || read(t, precious) != "precious" {
		t.Errorf("outside there are %q", got)
	}
	if read(t, dst, "file") != "evil" {
		t.Error("the link to a file was not replaced")
	}
}

// TestEndlessTree: a tree without an end is not followed without an end.
func TestEndlessTree(t *testing.T) {
	h := hostile{stat: isRoot, list: func(string) []os.FileInfo {
		return []os.FileInfo{entry{name: strings.Repeat("d", 200), mode: fs.ModeDir | 0o755}}
	}}
	r, home := h.serve(t), t.TempDir()
	_, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/src")}, local(filepath.Join(home, "dst")), transfer.Options{Recursive: true})
	demandFailures(t, err, "name too long")
}

// TestFailures: what fails is named, and the rest is copied.
func TestFailures(t *testing.T) {
	contents := map[string]string{"/src/a": "aaaa", "/src/b": "bbbb", "/src/short": "ab"}
	h := hostile{
		stat: func(path string) (os.FileInfo, error) {
			if path == "/src" {
				return isRoot(path)
			}
			return entry{name: filepath.Base(path), mode: 0o644, size: int64(len(contents[path]))}, nil
		},
		list: func(path string) []os.FileInfo {
			if path == "/src/locked" {
				return nil
			}
			return []os.FileInfo{
				entry{name: "a", mode: 0o644, size: 4},
				entry{name: "b", mode: 0o644, size: 4},
				entry{name: "denied", mode: 0o644, size: 4},
				entry{name: "short", mode: 0o644, size: 4},
				entry{name: "device", mode: fs.ModeDevice | 0o644},
				entry{name: "socket", mode: fs.ModeSocket | 0o644},
			}
		},
		read: func(path string) (io.ReaderAt, error) {
			if path == "/src/denied" {
				return nil, syscall.EACCES
			}
			return strings.NewReader(contents[path]), nil
		},
	}
	r, home := h.serve(t), t.TempDir()
	report, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/src")}, local(home), transfer.Options{Recursive: true})
	demandFailures(t, err, "/src/denied: permission denied", "/src/short: it shrank while it was copied: 2 of 4 bytes")
	if read(t, home, "src", "a")+read(t, home, "src", "b")+read(t, home, "src", "short") != "aaaabbbbab" {
		t.Error("the rest was not copied")
	}
	if len(report.Skipped) != 2 || len(names(t, filepath.Join(home, "src"))) != 3 {
		t.Errorf("report %+v; there are %q", report, names(t, filepath.Join(home, "src")))
	}
}

// TestAllThereIs: a copy of the root ends, without what the kernel makes up.
func TestAllThereIs(t *testing.T) {
	h := hostile{stat: isRoot, list: func(path string) []os.FileInfo {
		if path == "/" || path == "/etc" {
			return []os.FileInfo{
				entry{name: "proc", mode: fs.ModeDir | 0o755},
				entry{name: "sys", mode: fs.ModeDir | 0o755},
				entry{name: "etc" + path[1:], mode: fs.ModeDir | 0o755},
				entry{name: "file", mode: 0o644, size: 4},
			}
		}
		return nil
	}}
	r, home := h.serve(t), t.TempDir()
	report, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/")}, local(home), transfer.Options{Recursive: true})
	demand(t, report, err)
	if got := strings.Join(names(t, home), " "); got != "etc file" || len(report.Virtual) != 2 {
		t.Errorf("there are %q, report %+v", got, report)
	}
	if got := strings.Join(names(t, filepath.Join(home, "etc")), " "); got != "etcetc file proc sys" {
		t.Errorf("below there are %q", got)
	}
}

// TestGrowing: a file that is written to meanwhile is copied as it was.
func TestGrowing(t *testing.T) {
	r, home := serve(t, "r"), t.TempDir()
	path := file(t, r.dir, "log", noise(1<<20), 0o644)
	size := int64(1 << 20)
	grown := serveWith(t, "r", r.dir, func(c net.Conn) error {
		s, err := sftp.NewServer(&cutter{c, 0, 300 << 10, func() { rewrite(t, path, size, []byte("more")) }}, sftp.WithServerWorkingDirectory(r.dir))
		if err != nil {
			return err
		}
		return s.Serve()
	})
	report, err := transfer.Copy(t.Context(), []transfer.Place{grown.at("log")}, local(home), transfer.Options{})
	demand(t, report, err)
	if got := read(t, home, "log"); got != string(noise(1<<20)) || len(report.Changed) != 1 {
		t.Errorf("%d bytes, report %+v", len(got), report)
	}
}

// TestInPlace: where a directory takes no new files an old one is written over,
// but not when that would only lose it.
func TestInPlace(t *testing.T) {
	home := t.TempDir()
	src := file(t, home, "src", []byte("new"), 0o644)
	for _, tt := range []struct {
		refusal error
		want    string
	}{{syscall.EACCES, "new"}, {errors.New("Read-only file system"), "new"}, {errors.New("No space left on device"), "old"}} {
		for _, stream := range []bool{false, true} {
			var mu sync.Mutex
			content := "old"
			h := hostile{
				stat: func(path string) (os.FileInfo, error) {
					if path != "/dst" {
						return nil, os.ErrNotExist
					}
					return entry{name: "dst", mode: 0o644, size: 3}, nil
				},
				open: func(path string) error {
					if path == "/dst" {
						return nil
					}
					return tt.refusal
				},
				write: func(_ string, p []byte, _ int64) error {
					mu.Lock()
					defer mu.Unlock()
					content = string(p)
					return nil
				},
				cmd: func(r *sftp.Request) error {
					if r.Method == "Remove" || r.Method == "Rmdir" {
						return os.ErrNotExist
					}
					return nil
				},
			}
			r := h.serve(t)
			var err error
			if stream {
				_, err = transfer.Send(t.Context(), strings.NewReader("new"), r.at("/dst"), transfer.Options{})
			} else {
				_, err = transfer.Copy(t.Context(), []transfer.Place{local(src)}, r.at("/dst"), transfer.Options{})
			}
			mu.Lock()
			if (err == nil) != (tt.want == "new") || content != tt.want {
				t.Errorf("%v: it is %q, %v", tt.refusal, content, err)
			}
			mu.Unlock()
		}
	}
}
