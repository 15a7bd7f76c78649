//go:build linux || darwin

package sftp

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (p *peer) stat(kind byte, what string) attributes {
	p.t.Helper()
	a := p.ok(p.do(kind, what))
	if a.kind != fxpAttrs {
		p.t.Fatalf("a reply of type %d instead of attributes", a.kind)
	}
	return a.attributes()
}

func (p *peer) read(h string, at uint64, n uint32) string {
	p.t.Helper()
	a := p.ok(p.do(fxpRead, h, at, n))
	return string(a.string())
}

// name asks for what is answered with one name.
func (p *peer) name(kind byte, fields ...any) string {
	p.t.Helper()
	a := p.ok(p.do(kind, fields...))
	if n := a.uint32(); a.kind != fxpName || n != 1 {
		p.t.Fatalf("a reply of type %d with %d names", a.kind, n)
	}
	return string(a.string())
}

func TestNewFilesHaveTheUmask(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	p := newPeer(t, dir)
	create := uint32(openWrite | openCreate)
	p.handle(p.do(fxpOpen, "plain", create, attributes{}))
	p.handle(p.do(fxpOpen, "given", create, attributes{flags: attrPermissions, permissions: 0o100755}))
	p.ok(p.do(fxpMkdir, "dir", attributes{}))
	p.ok(p.do(fxpMkdir, "private", attributes{flags: attrPermissions, permissions: 0o40700}))
	for name, want := range map[string]uint32{"plain": 0o100640, "given": 0o100750, "dir": 0o40750, "private": 0o40700} {
		if got := p.stat(fxpLstat, name).permissions; got != want {
			t.Errorf("%s: %o, want %o", name, got, want)
		}
	}
}

func TestAttributes(t *testing.T) {
	dir := site(t)
	p := newPeer(t, dir)
	all := attributes{
		flags: attrSize | attrOwner | attrPermissions | attrTimes,
		size:  9, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), permissions: 0o106755, atime: 1_000_000_001, mtime: 4_000_000_000,
	}
	p.ok(p.do(fxpSetstat, "link", all))
	if got := p.stat(fxpStat, "file"); got != all {
		t.Errorf("%+v, want %+v", got, all)
	}
	h := p.open("other", openRead|openWrite)
	p.ok(p.do(fxpFsetstat, h, all))
	if got := p.stat(fxpFstat, h); got != all {
		t.Errorf("by handle: %+v, want %+v", got, all)
	}
	// Of a link itself.
	times := attributes{flags: attrTimes, atime: 7, mtime: 8}
	p.ok(p.do(fxpExtended, "lsetstat@openssh.com", "link", times))
	if got := p.stat(fxpLstat, "link"); got.mtime != 8 || got.permissions&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("the link: %+v", got)
	}
	if got := p.stat(fxpStat, "file"); got.mtime != all.mtime {
		t.Errorf("the link's target: %+v", got)
	}
	p.ok(p.do(fxpExtended, "lsetstat@openssh.com", "file", attributes{flags: attrPermissions, permissions: 0o600}))
	if got := p.stat(fxpStat, "file"); got.permissions != 0o100600 {
		t.Errorf("%o", got.permissions)
	}
	// What works is done though something else fails.
	if os.Getuid() == 0 {
		p.ok(p.do(fxpSetstat, "file", attributes{flags: attrPermissions, permissions: 0o640}))
	}
	if st := p.do(fxpSetstat, "file", attributes{flags: attrSize | attrTimes, size: 1 << 63, mtime: 99}).status(); st.code != fxBadMessage {
		t.Errorf("status %d: %s", st.code, st.text)
	}
	if got := p.stat(fxpStat, "file"); got.mtime != 99 {
		t.Errorf("%+v", got)
	}
}

func TestReadAndWrite(t *testing.T) {
	dir := t.TempDir()
	p := newPeer(t, dir)
	h := p.open("file", openRead|openWrite|openCreate)
	p.ok(p.do(fxpWrite, h, uint64(0), "hello"))
	p.ok(p.do(fxpWrite, h, uint64(5), "")) // allowed
	if got := p.read(h, 1, 100); got != "ello" {
		t.Errorf("%q", got)
	}
	if got := p.read(h, 0, 0); got != "" {
		t.Errorf("%q", got)
	}
	// Beyond 4 GiB, with a hole that takes no space.
	far := uint64(5 << 30)
	p.ok(p.do(fxpWrite, h, far, "far"))
	if got := p.read(h, far, 10); got != "far" {
		t.Errorf("%q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "file"), &st); err != nil || uint64(st.Size) != far+3 || st.Blocks > 1024 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	// The longest read and write, and one that is cut to it.
	long := strings.Repeat("0123456789abcdef", maxData/16)
	p.ok(p.do(fxpWrite, h, uint64(3), long))
	if got := p.read(h, 3, 1<<31); got != long {
		t.Errorf("%d bytes, want %d", len(got), len(long))
	}
	// Appending ignores the place.
	a := p.open("log", openWrite|openCreate|openAppend)
	for _, text := range []string{"one", "two"} {
		p.ok(p.do(fxpWrite, a, uint64(0), text))
	}
	if got, err := os.ReadFile(filepath.Join(dir, "log")); string(got) != "onetwo" {
		t.Errorf("%q, %v", got, err)
	}
	p.ok(p.do(fxpExtended, "fsync@openssh.com", a))
	p.open("log", openWrite|openTrunc)
	if got := p.stat(fxpStat, "log").size; got != 0 {
		t.Errorf("%d bytes after truncation", got)
	}
}

// Pipes and devices hang nobody.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	p := newPeer(t, dir)
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st := p.do(fxpOpen, "pipe", uint32(openWrite), attributes{}).status(); st.code != fxFailure {
		t.Errorf("a pipe without a reader: status %d: %s", st.code, st.text)
	}
	h := p.open("pipe", openRead)
	if st := p.do(fxpRead, h, uint64(0), uint32(1)).status(); st.code != fxFailure {
		t.Errorf("reading a pipe: status %d: %s", st.code, st.text)
	}
	if got := p.read(p.open("/dev/zero", openRead), 0, 3); got != "\x00\x00\x00" {
		t.Errorf("%q", got)
	}
	if st := p.do(fxpWrite, p.open("/dev/full", openWrite), uint64(0), "x").status(); st != (status{fxFailure, "No space left on device"}) {
		t.Errorf("status %d: %s", st.code, st.text)
	}
}

func TestCopyData(t *testing.T) {
	dir := t.TempDir()
	p := newPeer(t, dir)
	text := strings.Repeat("0123456789", 70_000)
	if err := os.WriteFile(filepath.Join(dir, "from"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	from, to := p.open("from", openRead), p.open("to", openRead|openWrite|openCreate)
	p.ok(p.do(fxpExtended, "copy-data", from, uint64(0), uint64(0), to, uint64(0)))
	if got, err := os.ReadFile(filepath.Join(dir, "to")); string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	p.ok(p.do(fxpExtended, "copy-data", from, uint64(1), uint64(3), to, uint64(5)))
	if got := p.read(to, 4, 5); got != "41238" {
		t.Errorf("%q", got)
	}
	if st := p.do(fxpExtended, "copy-data", from, uint64(len(text)-1), uint64(3), to, uint64(0)).status(); st != errEOF {
		t.Errorf("more than there is: status %d: %s", st.code, st.text)
	}
	// A copy without end ends with the client.
	endless := p.open("/dev/zero", openRead)
	null := p.open("/dev/null", openWrite)
	p.ask(fxpExtended, "copy-data", endless, uint64(0), uint64(0), null, uint64(0))
	p.stat(fxpFstat, from) // other files meanwhile
	if err := p.finish(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	dir := site(t)
	abs, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, abs)
	p.ok(p.do(fxpSymlink, "some/target", "full/new link"))
	if got := p.name(fxpReadlink, "full/new link"); got != "some/target" {
		t.Errorf("%q", got)
	}
	for name, want := range map[string]string{
		"":                abs,
		".":               abs,
		"file":            abs + "/file",
		"link":            abs + "/file",
		"dirlink/inner":   abs + "/full/inner",
		"dirlink/../file": abs + "/file",
		"new":             abs + "/new",
		"new/":            abs + "/new",
		"//":              "/",
		"/..":             "/",
		"empty/../full/.": abs + "/full",
		"dangling":        abs + "/nowhere",
	} {
		if got := p.name(fxpRealpath, name); got != want {
			t.Errorf("realpath of %q: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"~": abs, "~/file": abs + "/file", "~root": "/root", "file": abs + "/file", "./~": abs + "/~"} {
		if got := p.name(fxpExtended, "expand-path@openssh.com", name); got != want {
			t.Errorf("expansion of %q: %q, want %q", name, got, want)
		}
	}
	for user, want := range map[string]string{"": abs, "root": "/root"} {
		if got := p.name(fxpExtended, "home-directory", user); got != want {
			t.Errorf("home of %q: %q, want %q", user, got, want)
		}
	}
	p.ok(p.do(fxpExtended, "hardlink@openssh.com", "file", "second"))
	p.ok(p.do(fxpRename, "second", "third"))
	p.ok(p.do(fxpExtended, "posix-rename@openssh.com", "third", "other"))
	if got, err := os.ReadFile(filepath.Join(dir, "other")); string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
	p.ok(p.do(fxpRmdir, "empty"))
	p.ok(p.do(fxpRemove, "loop"))
}

// Each entry of a directory comes once, however many there are and whatever
// their names.
func TestListing(t *testing.T) {
	dir := t.TempDir()
	p := newPeer(t, dir)
	want := []string{".", "..", "new\nline", " space ", "\xff\xfe not UTF-8", "-rf", strings.Repeat("y", 255)}
	for i := range 2000 {
		want = append(want, fmt.Sprintf("%s%04d", strings.Repeat("x", i%200), i))
	}
	for _, name := range want[2:] {
		p.ok(p.do(fxpClose, p.open(name, openWrite|openCreate)))
	}
	h := p.handle(p.do(fxpOpendir, "."))
	var got []string
	replies := 0
	for ; ; replies++ {
		a := p.do(fxpReaddir, h)
		if a.kind == fxpStatus {
			if st := a.status(); st != errEOF {
				t.Errorf("status %d: %s", st.code, st.text)
			}
			break
		}
		if len(a.rest) > 33_000 {
			t.Errorf("a reply of %d bytes", len(a.rest))
		}
		for n := a.uint32(); n > 0; n-- {
			name, long := string(a.string()), string(a.string())
			if at := a.attributes(); a.err != nil || at.flags == 0 || !strings.HasSuffix(long, " "+name) {
				t.Fatalf("%q, %q, %+v, %v", name, long, at, a.err)
			}
			got = append(got, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	if replies > 40 {
		t.Errorf("%d replies for %d names", replies, len(want))
	}
	p.ok(p.do(fxpClose, h))
}

func TestLongname(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	names := func(id uint32) string { return map[uint32]string{0: "root", 12345678: "somebody-else"}[id] }
	for want, st := range map[string]*unix.Stat_t{
		"-rw-r--r--   1 root     root            5 Nov 21 12:00 f":   {Mode: 0o100644, Nlink: 1, Size: 5, Mtim: unix.NsecToTimespec(now.Add(-24 * time.Hour).UnixNano())},
		"drwsr-sr-t   2 1000     root         4096 Nov 23  2026 f":   {Mode: 0o047755, Nlink: 2, Size: 4096, Uid: 1000, Mtim: unix.NsecToTimespec(now.Add(24 * time.Hour).UnixNano())},
		"lrwSrwSrwT 100 somebody-else 12  5000000000 Jan  2  2025 f": {Mode: 0o127666, Nlink: 100, Size: 5_000_000_000, Uid: 12345678, Gid: 12, Mtim: unix.NsecToTimespec(time.Date(2025, 1, 2, 0, 0, 0, 0, time.Local).UnixNano())},
		"c---------   0 root     root            0 Nov 22 12:00 f":   {Mode: 0o020000, Mtim: unix.NsecToTimespec(now.UnixNano())},
	} {
		if got := longname("f", st, names, names, now); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("\n%s, want\n%s", got, want)
		}
	}
}

func TestNumbersToNames(t *testing.T) {
	p := newPeer(t, t.TempDir())
	ids := binary.BigEndian.AppendUint32(make([]byte, 4), 4_000_000_000)
	a := p.ok(p.do(fxpExtended, "users-groups-by-id@openssh.com", ids, ids[:4]))
	users, groups := parser{rest: a.string()}, parser{rest: a.string()}
	if u, v := string(users.string()), string(users.string()); u != "root" || v != "" || users.err != nil || len(users.rest) > 0 {
		t.Errorf("%q, %q", u, v)
	}
	if g := string(groups.string()); g == "" || len(groups.rest) > 0 {
		t.Errorf("%q", g)
	}
}

func TestLimitsAndSpace(t *testing.T) {
	p := newPeer(t, t.TempDir())
	a := p.ok(p.do(fxpExtended, "limits@openssh.com"))
	if packet, read, write, files := a.uint64(), a.uint64(), a.uint64(), a.uint64(); packet != 262144 || read != 261120 || write != 261120 || files == 0 || a.err != nil {
		t.Error(packet, read, write, files, a.err)
	}
	for _, a := range []answer{
		p.do(fxpExtended, "statvfs@openssh.com", "."),
		p.do(fxpExtended, "fstatvfs@openssh.com", p.open("f", openWrite|openCreate)),
	} {
		p.ok(a)
		var v [11]uint64
		for i := range v {
			v[i] = a.uint64()
		}
		if v[1] == 0 || v[2] < v[3] || v[10] < 200 || a.err != nil || len(a.rest) > 0 {
			t.Errorf("%v, %v", v, a.err)
		}
	}
}
