//go:build unix

package transfer_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"

	ours "github.com/cloudssh/cloudssh/internal/sftp"
	"github.com/cloudssh/cloudssh/internal/transfer"
)

// server is an SFTP server in this process: files of dir, by absolute paths and
// by paths relative to it.
type server struct {
	*transfer.Remote
	dir   string
	conn  net.Conn      // the server's end
	ended chan struct{} // closed when it has done all it was asked to, and ended
}

// serve starts the server of our agent.
func serve(t *testing.T, name string) *server {
	t.Helper()
	dir := t.TempDir()
	return serveWith(t, name, dir, func(c net.Conn) error {
		return ours.Serve(c, ours.Options{Dir: dir})
	})
}

// serveLibrary starts the library's server, which lacks some extensions.
func serveLibrary(t *testing.T, name string) *server {
	t.Helper()
	dir := t.TempDir()
	return serveWith(t, name, dir, func(c net.Conn) error {
		s, err := sftp.NewServer(c, sftp.WithServerWorkingDirectory(dir))
		if err != nil {
			return err
		}
		return s.Serve()
	})
}

func serveWith(t *testing.T, name, dir string, run func(net.Conn) error) *server {
	t.Helper()
	here, there := socketPair(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run(there) // a test that ends closes the stream under it
		_ = there.Close()
	}()
	remote, err := transfer.NewRemote(here, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = remote.Close()
		_ = there.Close()
		<-ended
	})
	return &server{remote, dir, there, ended}
}

// socketPair is a connection with buffers, as a real one has. It has no name,
// which could be too long for a socket.
func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket")
		ends[i], err = net.FileConn(f) // which has a descriptor of its own
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

func (s *server) at(path string) transfer.Place { return transfer.Place{FS: s.Remote, Path: path} }

func local(path string) transfer.Place { return transfer.Place{FS: transfer.Local{}, Path: path} }

// file writes a file below dir, with the directories above it.
func file(t *testing.T, dir, name string, content []byte, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// noise are n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// picture describes a tree, line by line; exact adds what -p keeps.
func picture(t *testing.T, root string, exact bool) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %v", rel, fi.Mode().Type())
		if exact && d.Type()&fs.ModeSymlink == 0 {
			line += fmt.Sprintf(" %v %d", fi.Mode().Perm(), fi.ModTime().Unix())
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// tree makes a tree with all that is odd in trees.
func tree(t *testing.T, root string) {
	t.Helper()
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	file(t, root, "plain", []byte("hi\n"), 0o644)
	file(t, root, "empty", nil, 0o600)
	file(t, root, "run me", []byte("#!/bin/sh\n"), 0o755)
	file(t, root, ".hidden/.deep", []byte("h"), 0o640)
	file(t, root, "new\nline \xff\x01", []byte("odd"), 0o644)
	file(t, root, "-r", []byte("dash"), 0o644)
	file(t, root, "*?[x", []byte("glob"), 0o644)
	file(t, root, strings.Repeat("ß", 127), []byte("long"), 0o644)
	file(t, root, "a/b/c/large", noise(1_234_567), 0o444)
	file(t, root, "read-only/inside", []byte("q"), 0o400)
	for _, dir := range []string{"hollow", "a/hollow"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"a/up": "../plain", "loop": ".", "nowhere": "/does/not/exist", "out": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"plain", "a/b/c/large", "a/b", "hollow", "read-only"} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "read-only"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, "read-only"), 0o755) })
}

// demand checks that a copy went through.
func demand(t *testing.T, r transfer.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got %v; report %+v", err, r)
	}
}

// demandFailures checks what was not copied, by texts that stand for each.
func demandFailures(t *testing.T, err error, want ...string) {
	t.Helper()
	var failed *transfer.FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want failures %q", err, want)
	}
	if len(failed.Failures) != len(want) {
		t.Errorf("got %d failures, want %d:\n%v", len(failed.Failures), len(want), err)
	}
	for i, f := range failed.Failures {
		if text := fmt.Sprintf("%s: %v", f.Path, f.Err); i < len(want) && !strings.Contains(text, want[i]) {
			t.Errorf("failure %d is %q, want %q", i, text, want[i])
		}
	}
}

// names are the names in a directory, hidden ones too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}
