package transfer_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ours "github.com/cloudssh/cloudssh/internal/sftp"
	"github.com/cloudssh/cloudssh/internal/transfer"
)

// tmpfs mounts a file system of so many bytes.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting a file system needs root: run `make test`")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullAndReadOnly: a full or read-only file system, at either side.
func TestFullAndReadOnly(t *testing.T) {
	small := tmpfs(t, "size=1m")
	home := t.TempDir()
	big := file(t, home, "src/big", noise(4<<20), 0o644)
	file(t, home, "src/little", []byte("x"), 0o644)
	r := serveWith(t, "r", small, func(c net.Conn) error { return ours.Serve(c, ours.Options{Dir: small}) })
	source := serve(t, "s")
	file(t, source.dir, "big", noise(4<<20), 0o644)
	for name, place := range map[string]transfer.Place{"there": r.at("dst"), "here": local(filepath.Join(small, "dst"))} {
		_, err := transfer.Copy(t.Context(), []transfer.Place{local(big)}, place, transfer.Options{})
		if name == "here" {
			_, err = transfer.Copy(t.Context(), []transfer.Place{source.at("big")}, place, transfer.Options{})
		}
		demandFailures(t, err, transfer.ErrNoSpace.Error())
		if got := names(t, small); len(got) != 0 {
			t.Errorf("%s: left are %q", name, got)
		}
	}
	// An old file is not lost.
	file(t, small, "big", []byte("old"), 0o644)
	_, err := transfer.Copy(t.Context(), []transfer.Place{local(big)}, r.at("."), transfer.Options{})
	demandFailures(t, err, transfer.ErrNoSpace.Error())
	if read(t, small, "big") != "old" || len(names(t, small)) != 1 {
		t.Errorf("there are %q", names(t, small))
	}
	if err := syscall.Mount("", small, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]transfer.Place{"there": r.at("."), "here": local(small)} {
		from := local(filepath.Join(home, "src", "little"))
		if name == "here" {
			from = source.at("big")
		}
		_, err := transfer.Copy(t.Context(), []transfer.Place{from}, place, transfer.Options{})
		var failed *transfer.FailedError
		if !errors.As(err, &failed) || !strings.Contains(strings.ToLower(err.Error()), "read-only file system") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestMountPoint: a file that something is mounted on cannot be replaced, but
// written to. A container's /etc/hosts is one.
func TestMountPoint(t *testing.T) {
	dir, home := tmpfs(t, "size=1m"), t.TempDir()
	r := serveWith(t, "r", dir, func(c net.Conn) error { return ours.Serve(c, ours.Options{Dir: dir}) })
	src := file(t, home, "hosts", []byte("new"), 0o644)
	target, under := file(t, dir, "hosts", []byte("older"), 0o644), file(t, home, "under", []byte("older"), 0o644)
	if err := syscall.Mount(under, target, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) })
	report, err := transfer.Copy(t.Context(), []transfer.Place{local(src)}, r.at("hosts"), transfer.Options{})
	demand(t, report, err)
	if read(t, under) != "new" || len(names(t, dir)) != 1 {
		t.Errorf("it is %q; there are %q", read(t, under), names(t, dir))
	}
	if report, err = transfer.Send(t.Context(), strings.NewReader("by stdin"), r.at("hosts"), transfer.Options{}); err == nil {
		if read(t, under) != "by stdin" {
			t.Errorf("it is %q", read(t, under))
		}
	} else {
		t.Errorf("got %v, %+v", err, report)
	}
}
