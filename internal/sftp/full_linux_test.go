package sftp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func mount(t *testing.T, flags uintptr, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("sftp-test", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("SKIPPED: this machine mounts nothing: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// What fits of a write stays, and the client hears why the rest does not.
func TestFullFileSystem(t *testing.T) {
	dir := mount(t, 0, "size=64k,nr_inodes=4")
	p := newPeer(t, dir)
	h := p.open("file", openWrite|openCreate)
	full := status{fxFailure, "No space left on device"}
	if st := p.do(fxpWrite, h, uint64(0), strings.Repeat("x", 100_000)).status(); st != full {
		t.Errorf("status %d: %s", st.code, st.text)
	}
	if info, err := os.Stat(filepath.Join(dir, "file")); err != nil || info.Size() != 64<<10 {
		t.Errorf("%v, %v", info, err)
	}
	p.ok(p.do(fxpMkdir, "a", attributes{}))
	p.ok(p.do(fxpMkdir, "b", attributes{}))
	if st := p.do(fxpMkdir, "c", attributes{}).status(); st != full {
		t.Errorf("status %d: %s", st.code, st.text)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	p := newPeer(t, mount(t, unix.MS_RDONLY|unix.MS_NOSUID, ""))
	want := status{fxFailure, "Read-only file system"}
	for name, a := range map[string]answer{
		"open":  p.do(fxpOpen, "file", uint32(openWrite|openCreate), attributes{}),
		"mkdir": p.do(fxpMkdir, "dir", attributes{}),
		"chmod": p.do(fxpSetstat, ".", attributes{flags: attrPermissions, permissions: 0o700}),
	} {
		if st := a.status(); st != want {
			t.Errorf("%s: status %d: %s", name, st.code, st.text)
		}
	}
	a := p.ok(p.do(fxpExtended, "statvfs@openssh.com", "."))
	var v [11]uint64
	for i := range v {
		v[i] = a.uint64()
	}
	if v[9] != 3 {
		t.Errorf("flags %d", v[9])
	}
	// As by a user who may not.
	if st := toStatus(unix.EACCES); st.code != fxPermissionDenied || toStatus(unix.EPERM).code != fxPermissionDenied {
		t.Errorf("%+v", st)
	}
}
