//go:build unix

package transfer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cloudssh/cloudssh/internal/transfer"
)

// TestTrees: up, across to another server, and down again, byte for byte.
func TestTrees(t *testing.T) {
	for _, exact := range []bool{true, false} {
		a, b, home := serve(t, "a"), serve(t, "b"), t.TempDir()
		src := filepath.Join(home, "src")
		tree(t, src)
		o := transfer.Options{Recursive: true, Preserve: exact}
		r, err := transfer.Copy(t.Context(), []transfer.Place{local(src)}, a.at("new"), o)
		demand(t, r, err)
		if r.Files != 10 || r.Links != 4 || r.Dirs != 8 {
			t.Errorf("report %+v", r)
		}
		r, err = transfer.Copy(t.Context(), []transfer.Place{a.at("new")}, b.at("."), o)
		demand(t, r, err)
		r, err = transfer.Copy(t.Context(), []transfer.Place{b.at("new/.")}, local(filepath.Join(home, "back")), o)
		demand(t, r, err)
		want := picture(t, src, exact)
		for _, dir := range []string{filepath.Join(a.dir, "new"), filepath.Join(b.dir, "new"), filepath.Join(home, "back")} {
			if got := picture(t, dir, exact); got != want {
				t.Errorf("%s is\n%s\nwant\n%s", dir, got, want)
			}
			_ = os.Chmod(filepath.Join(dir, "read-only"), 0o755) // so that it can be removed
		}
		// Once more onto the same: it merges, and leaves no parts.
		r, err = transfer.Copy(t.Context(), []transfer.Place{local(src)}, a.at("."), transfer.Options{Recursive: true})
		demand(t, r, err)
		r, err = transfer.Copy(t.Context(), []transfer.Place{local(src + "/.")}, a.at("src"), transfer.Options{Recursive: true})
		demand(t, r, err)
		if got := picture(t, filepath.Join(a.dir, "src"), false); got != picture(t, src, false) {
			t.Errorf("merged:\n%s", got)
		}
	}
}

// TestTargets: where a copy goes.
func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		sources []string // of hello, hidden/.x, dir/in; with "r:" in front on the server
		dst     string
		o       transfer.Options
		want    string // what is there then, or
		err     string
	}{
		{sources: []string{"hello"}, dst: "r:.", want: "hello"},
		{sources: []string{"hello"}, dst: "r:name", want: "name"},
		{sources: []string{"hello"}, dst: "r:there", want: "there/hello"},
		{sources: []string{"hello"}, dst: "r:there/", want: "there/hello"},
		{sources: []string{"hello"}, dst: "r:none/", err: "none/: no such directory"},
		{sources: []string{"hello"}, dst: "r:none/x", err: "writing to r:none/x: file does not exist"},
		{sources: []string{"hello", "dir/in"}, dst: "r:there", want: "there/in"},
		{sources: []string{"hello", "dir/in"}, dst: "r:none", err: "not a directory, and there are several sources"},
		{sources: []string{"r:*.none", "hello"}, dst: "r:none", err: "and there are several sources"},
		{sources: []string{"hello", "other/hello"}, dst: "r:there", want: "there/hello", err: "is the copy of another source already"},
		{sources: []string{"hello"}, dst: "r:file/", err: "r:file/: not a directory"},
		{sources: []string{"dir"}, dst: "r:there", err: "is a directory (not copied without -r)"},
		{sources: []string{"dir"}, dst: "r:there", o: transfer.Options{Recursive: true}, want: "there/dir/in"},
		{sources: []string{"dir"}, dst: "r:none", o: transfer.Options{Recursive: true}, want: "none/in"},
		{sources: []string{"dir"}, dst: "r:none/", o: transfer.Options{Recursive: true}, want: "none/in"},
		{sources: []string{"dir"}, dst: "r:file", o: transfer.Options{Recursive: true}, err: "r:file: not a directory"},
		{sources: []string{"dir/."}, dst: "r:there", o: transfer.Options{Recursive: true}, want: "there/in"},
		{sources: []string{"r:there/.."}, dst: "r:there/sub", o: transfer.Options{Recursive: true}, err: "cannot be copied into itself"},
		{sources: []string{"r:."}, dst: "r:there", o: transfer.Options{Recursive: true}, err: "cannot be copied into itself"},
		{sources: []string{"r:there"}, dst: "r:there/new", o: transfer.Options{Recursive: true}, err: "cannot be copied into itself"},
		{sources: []string{"r:there"}, dst: "r:there2", o: transfer.Options{Recursive: true}, want: "there2/old"},
		{sources: []string{"r:file"}, dst: "r:./there/../file", err: "are the same file"},
		{sources: []string{"r:tofile"}, dst: "r:file", err: "are the same file"},
		{sources: []string{"hello"}, dst: "r:tofile", want: "file"},
		{sources: []string{"hello"}, dst: "r:todir", want: "there/hello"},
		{sources: []string{"hello"}, dst: "r:tonothing", err: "is a symbolic link to nothing"},
		{sources: []string{"tohello"}, dst: "r:x", want: "x"},
		{sources: []string{"missing", "hello"}, dst: "r:there", want: "there/hello", err: "missing: no such file"},
		{sources: []string{"r:th*/o?d", "r:*.none"}, dst: "r:.", want: "old", err: "nothing matches"},
		{sources: []string{"r:[f]ile"}, dst: "r:there", want: "there/file"},
		{sources: []string{"r:[f"}, dst: "r:there", err: "cannot be understood"},
		{sources: []string{"fifo"}, dst: "r:there", err: "not a regular file"},
		{sources: []string{"hello"}, dst: "r:/dev/null"},
		{sources: []string{"hello"}, dst: "r:todevice"},
	} {
		t.Run(strings.Join(tt.sources, " ")+" to "+tt.dst, func(t *testing.T) {
			r, home := serve(t, "r"), t.TempDir()
			file(t, home, "hello", []byte("hello"), 0o644)
			file(t, home, "other/hello", []byte("hello"), 0o644)
			file(t, home, "dir/in", []byte("hello"), 0o644)
			file(t, r.dir, "file", []byte("hello"), 0o644)
			file(t, r.dir, "there/old", []byte("hello"), 0o644)
			_ = os.Symlink("hello", filepath.Join(home, "tohello"))
			for name, to := range map[string]string{"tofile": "file", "todir": "there", "tonothing": "nothing", "todevice": "/dev/null"} {
				_ = os.Symlink(to, filepath.Join(r.dir, name))
			}
			_ = syscall.Mkfifo(filepath.Join(home, "fifo"), 0o600)
			place := func(s string) transfer.Place {
				if path, ok := strings.CutPrefix(s, "r:"); ok {
					return r.at(path)
				}
				return local(filepath.Join(home, s))
			}
			var sources []transfer.Place
			for _, s := range tt.sources {
				p := place(s)
				if strings.HasSuffix(s, "/.") {
					p.Path += "/."
				}
				sources = append(sources, p)
			}
			_, err := transfer.Copy(t.Context(), sources, place(tt.dst), tt.o)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if tt.want != "" && read(t, r.dir, tt.want) != "hello" {
				t.Errorf("%s is not what was copied", tt.want)
			}
		})
	}
}

// TestModes: without -p they are cp's.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	for name, serve := range map[string]func(*testing.T, string) *server{"ours": serve, "library": serveLibrary} {
		r, home := serve(t, "r"), t.TempDir()
		for _, mode := range []os.FileMode{0o777, 0o755, 0o666, 0o600, 0o444, 0o400, 0o700, 0o640} {
			up := transfer.Place{FS: r.Remote, Path: "new" + mode.String()}
			src := file(t, home, "src", []byte("x"), mode)
			report, err := transfer.Copy(t.Context(), []transfer.Place{local(src)}, up, transfer.Options{})
			demand(t, report, err)
			file(t, r.dir, "down"+mode.String(), []byte("x"), mode)
			report, err = transfer.Copy(t.Context(), []transfer.Place{r.at("down" + mode.String())}, local(home), transfer.Options{})
			demand(t, report, err)
			for _, path := range []string{filepath.Join(r.dir, up.Path), filepath.Join(home, "down"+mode.String())} {
				if fi, err := os.Stat(path); err != nil || fi.Mode() != mode&^0o027 {
					t.Errorf("%s, %v became %v, %v", name, mode, fi, err)
				}
			}
		}
		file(t, home, "src", []byte("new"), 0o755)
		file(t, r.dir, "old", []byte("x"), 0o604)
		report, err := transfer.Copy(t.Context(), []transfer.Place{local(filepath.Join(home, "src"))}, r.at("old"), transfer.Options{})
		demand(t, report, err)
		if fi, err := os.Stat(filepath.Join(r.dir, "old")); err != nil || fi.Mode() != 0o604 {
			t.Errorf("%s: an existing file's mode became %v, %v", name, fi.Mode(), err)
		}
		if left := names(t, r.dir); slices.ContainsFunc(left, func(n string) bool { return strings.Contains(n, "part") }) {
			t.Errorf("parts are left: %q", left)
		}
	}
}

// TestSparse: zeros take no room, and are read back as zeros.
func TestSparse(t *testing.T) {
	r, home := serve(t, "r"), t.TempDir()
	const size = 16 << 20
	path := file(t, home, "sparse", []byte("begin"), 0o644)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("middle"), size/2+12345); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	report, err := transfer.Copy(t.Context(), []transfer.Place{local(path)}, r.at("up"), transfer.Options{})
	demand(t, report, err)
	report, err = transfer.Copy(t.Context(), []transfer.Place{r.at("up")}, local(filepath.Join(home, "down")), transfer.Options{})
	demand(t, report, err)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(r.dir, "up"), filepath.Join(home, "down")} {
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs, %v", name, err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(name, &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%s takes %d bytes, %v", name, st.Blocks*512, err)
		}
	}
}

// TestUnsized: files whose size the system does not tell, and devices.
func TestUnsized(t *testing.T) {
	r, home := serve(t, "r"), t.TempDir()
	report, err := transfer.Copy(t.Context(), []transfer.Place{r.at("/proc/self/environ"), r.at("/proc/version"), r.at("/sys/kernel/mm/transparent_hugepage/enabled")}, local(home), transfer.Options{})
	demand(t, report, err)
	if want := read(t, "/proc/version"); read(t, home, "version") != want {
		t.Errorf("got %q", read(t, home, "version"))
	}
	var out bytes.Buffer
	report, err = transfer.Fetch(t.Context(), []transfer.Place{r.at("/proc/version"), r.at("/proc/self/stat*us")}, &out, transfer.Options{})
	demand(t, report, err)
	if !strings.HasPrefix(out.String(), read(t, "/proc/version")+"Name:") {
		t.Errorf("got %q", out.String())
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain äö 漢": "plain äö 漢", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "\x1b[31m": `"\x1b[31m"`, "\u202egnp": `"\u202egnp"`,
	} {
		if got := transfer.Quote(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}

// TestHopeless: what can be told of sources before there is a destination is what Copy tells.
func TestHopeless(t *testing.T) {
	dir := t.TempDir()
	file, gone := filepath.Join(dir, "file"), filepath.Join(dir, "gone")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, "r")
	for _, c := range []struct {
		sources   []string
		recursive bool
	}{{[]string{gone}, true}, {[]string{dir}, false}, {[]string{"/dev/null", gone}, true}} {
		o := transfer.Options{Recursive: c.recursive}
		var places []transfer.Place
		for _, path := range c.sources {
			places = append(places, local(path))
		}
		_, err := transfer.Copy(t.Context(), places, r.at(r.dir+"/"), o)
		told := transfer.Hopeless(c.sources, o)
		if err == nil || told == nil || told.Error() != err.Error() {
			t.Errorf("%q: told %v, then %v", c.sources, told, err)
		}
	}
	for _, sources := range [][]string{nil, {file}, {gone, file}} {
		if err := transfer.Hopeless(sources, transfer.Options{}); err != nil {
			t.Errorf("%q: %v", sources, err)
		}
	}
}
