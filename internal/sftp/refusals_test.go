//go:build linux || darwin

package sftp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// site is a directory with one of each: what refusals are tried on.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"file": "text", "other": "more", "full/inner": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"loop": "loop", "dangling": "nowhere", "link": "file", "dirlink": "full"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The codes are those of OpenSSH's server, the texts the system's.
func TestRefusals(t *testing.T) {
	p := newPeer(t, site(t))
	none := attributes{}
	file, dir := p.open("file", openRead), p.handle(p.do(fxpOpendir, "full"))
	gone := p.open("file", openRead)
	p.ok(p.do(fxpClose, gone))
	longName := strings.Repeat("x", 300)
	for _, c := range []struct {
		name   string
		kind   byte
		fields []any
		want   status
	}{
		{"open what is not there", fxpOpen, []any{"none", uint32(openRead), none}, status{fxNoSuchFile, "No such file or directory"}},
		{"open nothing", fxpOpen, []any{"", uint32(openRead), none}, status{fxNoSuchFile, "No such file or directory"}},
		{"create what is there", fxpOpen, []any{"file", uint32(openWrite | openCreate | openExcl), none}, status{fxFailure, "File exists"}},
		{"open a directory to write", fxpOpen, []any{"full", uint32(openWrite), none}, status{fxFailure, "Is a directory"}},
		{"open below a file", fxpOpen, []any{"file/x", uint32(openRead), none}, status{fxNoSuchFile, "Not a directory"}},
		{"open a loop", fxpOpen, []any{"loop", uint32(openRead), none}, status{fxNoSuchFile, "Too many levels of symbolic links"}},
		{"open a long name", fxpOpen, []any{longName, uint32(openRead), none}, status{fxBadMessage, "File name too long"}},
		{"a name with a NUL", fxpOpen, []any{"a\x00b", uint32(openRead), none}, status{fxBadMessage, "A name contains a NUL byte"}},
		{"open half a packet", fxpOpen, []any{"file"}, status{fxBadMessage, "The packet is too short"}},
		{"list a file", fxpOpendir, []any{"file"}, status{fxNoSuchFile, "Not a directory"}},
		{"read a directory's handle", fxpRead, []any{dir, uint64(0), uint32(1)}, errNotFile},
		{"list a file's handle", fxpReaddir, []any{file}, errNotDir},
		{"read a closed handle", fxpRead, []any{gone, uint64(0), uint32(1)}, errHandle},
		{"read a handle of no one", fxpRead, []any{"some handle", uint64(0), uint32(1)}, errHandle},
		{"read past the end", fxpRead, []any{file, uint64(4), uint32(1)}, errEOF},
		{"read at an impossible place", fxpRead, []any{file, uint64(1 << 63), uint32(1)}, status{fxBadMessage, "Invalid argument"}},
		{"write to a file open for reading", fxpWrite, []any{file, uint64(0), "x"}, status{fxNoSuchFile, "Bad file descriptor"}},
		{"close twice", fxpClose, []any{gone}, errHandle},
		{"stat nothing", fxpStat, []any{"none"}, status{fxNoSuchFile, "No such file or directory"}},
		{"stat a dangling link", fxpStat, []any{"dangling"}, status{fxNoSuchFile, "No such file or directory"}},
		{"truncate to an impossible size", fxpSetstat, []any{"file", attributes{flags: attrSize, size: 1 << 63}}, status{fxBadMessage, "Invalid argument"}},
		{"resize a link", fxpExtended, []any{"lsetstat@openssh.com", "link", attributes{flags: attrSize}}, status{fxBadMessage, "Invalid argument"}},
		{"remove a directory with files", fxpRmdir, []any{"full"}, status{fxFailure, "Directory not empty"}},
		{"remove a file as a directory", fxpRmdir, []any{"file"}, status{fxNoSuchFile, "Not a directory"}},
		{"make what is there", fxpMkdir, []any{"full", none}, status{fxFailure, "File exists"}},
		{"make below nothing", fxpMkdir, []any{"none/x", none}, status{fxNoSuchFile, "No such file or directory"}},
		{"rename onto a file", fxpRename, []any{"file", "other"}, status{fxFailure, "File exists"}},
		{"rename onto itself", fxpRename, []any{"file", "file"}, status{fxFailure, "File exists"}},
		{"rename onto a dangling link", fxpRename, []any{"file", "dangling"}, status{fxFailure, "File exists"}},
		{"rename a directory onto an empty one", fxpRename, []any{"full", "empty"}, status{fxFailure, "File exists"}},
		{"rename nothing", fxpRename, []any{"none", "new"}, status{fxNoSuchFile, "No such file or directory"}},
		{"rename over a full directory", fxpExtended, []any{"posix-rename@openssh.com", "empty", "full"}, status{fxFailure, "Directory not empty"}},
		{"rename a directory into itself", fxpExtended, []any{"posix-rename@openssh.com", "full", "full/x"}, status{fxBadMessage, "Invalid argument"}},
		{"read no link", fxpReadlink, []any{"file"}, status{fxBadMessage, "Invalid argument"}},
		{"link what is there", fxpSymlink, []any{"target", "file"}, status{fxFailure, "File exists"}},
		{"link from nothing", fxpExtended, []any{"hardlink@openssh.com", "none", "new"}, status{fxNoSuchFile, "No such file or directory"}},
		{"copy a file onto itself", fxpExtended, []any{"copy-data", file, uint64(0), uint64(0), p.open("file", openWrite), uint64(0)}, status{fxFailure, "A file cannot be copied onto itself"}},
		{"copy from nothing", fxpExtended, []any{"copy-data", gone, uint64(0), uint64(0), file, uint64(0)}, errHandle},
		{"copy to a directory", fxpExtended, []any{"copy-data", file, uint64(0), uint64(0), dir, uint64(0)}, errNotFile},
		{"resolve below nothing", fxpRealpath, []any{"none/x"}, status{fxNoSuchFile, "No such file or directory"}},
		{"resolve below a file", fxpRealpath, []any{"file/x"}, status{fxNoSuchFile, "Not a directory"}},
		{"resolve a loop", fxpRealpath, []any{"loop"}, status{fxNoSuchFile, "Too many levels of symbolic links"}},
		{"home of nobody", fxpExtended, []any{"expand-path@openssh.com", "~no such user/x"}, status{fxNoSuchFile, "No such user"}},
		{"half a user", fxpExtended, []any{"users-groups-by-id@openssh.com", "123", ""}, status{fxBadMessage, "Not a list of numbers"}},
		{"more users than fit", fxpExtended, []any{"users-groups-by-id@openssh.com", strings.Repeat("\x00\x00\x00\x00", 60_000), ""}, errTooLarge},
		{"an unknown extension", fxpExtended, []any{"delete-everything@example.com"}, status{fxUnsupported, "Unknown extension"}},
		{"an unknown request", 99, nil, status{fxUnsupported, "Operation unsupported"}},
		{"a reply", fxpData, []any{"x"}, status{fxUnsupported, "Operation unsupported"}},
	} {
		if got := p.do(c.kind, c.fields...).status(); got != c.want {
			t.Errorf("%s: status %d, %q; want %d, %q", c.name, got.code, got.text, c.want.code, c.want.text)
		}
	}
	p.ok(p.do(fxpStat, "full/inner"))
	if err := p.finish(); err != nil {
		t.Error(err)
	}
}

// What breaks the framing, or comes before the greeting, ends the session.
func TestFatal(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  string
	}{
		"too long":           {"\x00\x04\x00\x01", "a packet of 262145 bytes"},
		"longest":            {"\xff\xff\xff\xff\x05", "a packet of 4294967295 bytes"},
		"empty":              {"\x00\x00\x00\x00", "a packet of 0 bytes"},
		"no number":          {"\x00\x00\x00\x03\x05ab", "without a number"},
		"cut in the length":  {"\x00\x00", "unexpected EOF"},
		"cut after it":       {"\x00\x00\x00\x05", "unexpected EOF"},
		"cut in the request": {"\x00\x00\x00\x05\x05", "unexpected EOF"},
		"hung up":            {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, t.TempDir())
			if _, err := p.conn.Write([]byte(c.bytes)); err != nil {
				t.Fatal(err)
			}
			err := p.finish()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	near, far := socketPair(t)
	if _, err := near.Write(pack(fxpStat, uint32(1), ".")); err != nil {
		t.Fatal(err)
	}
	if err := Serve(far, Options{Dir: "/"}); err == nil || !strings.Contains(err.Error(), "before the first packet") {
		t.Error(err)
	}
}

// A client may not take all the files the process can have.
func TestTooManyHandles(t *testing.T) {
	dir := site(t)
	p := newPeer(t, dir)
	opened := map[string]bool{}
	for range handleLimit() {
		opened[p.open("file", openRead)] = true
	}
	if len(opened) != handleLimit() {
		t.Errorf("%d different handles of %d", len(opened), handleLimit())
	}
	for range 10_000 - handleLimit() {
		p.ask(fxpOpen, "new", uint32(openWrite|openCreate), attributes{})
		if st := p.receive().status(); st != errHandles {
			t.Fatalf("status %d: %s", st.code, st.text)
		}
	}
	if st := p.do(fxpOpendir, ".").status(); st != errHandles {
		t.Errorf("status %d: %s", st.code, st.text)
	}
	if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil {
		t.Error("a refused file was made")
	}
	for h := range opened {
		p.ok(p.do(fxpClose, h))
		break
	}
	p.open("file", openRead)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
}
