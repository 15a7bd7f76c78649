//go:build unix

package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ours "github.com/cloudssh/cloudssh/internal/sftp"
	"github.com/cloudssh/cloudssh/internal/transfer"
)

// large is the size of files that are cut off: more than a copy keeps under way.
const large = 16 << 20

// cutter passes a stream on until so many bytes have come, then does what it is
// told to.
type cutter struct {
	net.Conn
	in, out int // bytes until the cut; 0 for never
	cut     func()
}

func (c *cutter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(&c.in, n)
	return n, err
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.count(&c.out, n)
	return n, err
}

func (c *cutter) count(left *int, n int) {
	if *left > 0 {
		if *left -= n; *left <= 0 {
			*left = 0
			c.cut()
		}
	}
}

// serveCut serves dir, and cuts after so many bytes in or out.
func serveCut(t *testing.T, dir string, in, out int, cut func(net.Conn)) *server {
	t.Helper()
	return serveWith(t, "r", dir, func(c net.Conn) error {
		return ours.Serve(&cutter{c, in, out, func() { cut(c) }}, ours.Options{Dir: dir})
	})
}

func hangUp(c net.Conn) { _ = c.Close() }

// partsIn are the unfinished files in a directory.
func partsIn(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".*.cloudssh-part-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestResumeUpload(t *testing.T) {
	home, there := t.TempDir(), t.TempDir()
	content := noise(large)
	src := file(t, home, "src", content, 0o640)
	r := serveCut(t, there, 13<<20, 0, hangUp)
	_, err := transfer.Copy(t.Context(), []transfer.Place{local(src)}, r.at("dst"), transfer.Options{})
	var lost *transfer.LostError
	if !errors.As(err, &lost) {
		t.Fatalf("got %v", err)
	}
	<-r.ended // what it had read it still writes
	if len(partsIn(t, there)) != 1 {
		t.Fatalf("there are %q", names(t, there))
	}
	var p transfer.Progress
	r = serveCut(t, there, 0, 0, nil)
	report, err := transfer.Copy(t.Context(), []transfer.Place{local(src)}, r.at("dst"), transfer.Options{Progress: &p})
	demand(t, report, err)
	if s := p.Look(); s.Resumed < 4<<20 || s.Bytes != large || report.Moved != large-s.Resumed {
		t.Errorf("not resumed: %+v, %+v", s, report)
	}
	if read(t, there, "dst") != string(content) || len(names(t, there)) != 1 {
		t.Errorf("the file differs, or there is more: %q", names(t, there))
	}
	if fi, err := os.Stat(filepath.Join(there, "dst")); err != nil || fi.Mode() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// TestResumeDownload: what is wrong with a part makes it useless, and only that.
func TestResumeDownload(t *testing.T) {
	content := noise(large)
	for _, tt := range []struct {
		name   string
		spoil  func(t *testing.T, src, part string)
		o      transfer.Options
		resume bool
	}{
		{name: "as it is", resume: true},
		{name: "more of the part is there than is trusted", resume: true, spoil: func(t *testing.T, _, part string) {
			t.Helper()
			rewrite(t, part, -5, []byte("wrong"))
		}},
		{name: "the part differs", spoil: func(t *testing.T, _, part string) {
			t.Helper()
			fi, err := os.Stat(part)
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, part, -(4<<20)-fi.Size()%(128<<10)-1000, []byte("wrong"))
		}},
		{name: "the source is newer", spoil: func(t *testing.T, src, _ string) {
			t.Helper()
			rewrite(t, src, -5, []byte("newer"))
			if err := os.Chtimes(src, time.Now(), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "not wanted", o: transfer.Options{NoResume: true}},
		{name: "the part is a link", spoil: func(t *testing.T, src, part string) {
			t.Helper()
			if err := errors.Join(os.Rename(part, src+".moved"), os.Symlink(src+".moved", part)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, there := t.TempDir(), t.TempDir()
			src := file(t, there, "src", content, 0o644)
			r := serveCut(t, there, 0, 13<<20, hangUp)
			report, err := transfer.Copy(t.Context(), []transfer.Place{r.at("src")}, local(home), transfer.Options{})
			var lost *transfer.LostError
			parts := partsIn(t, home)
			if !errors.As(err, &lost) || len(parts) != 1 || len(report.Parts) != 1 || report.Parts[0] != parts[0] {
				t.Fatalf("got %v, %+v, %q", err, report, parts)
			}
			if tt.spoil != nil {
				tt.spoil(t, src, parts[0])
			}
			var p transfer.Progress
			tt.o.Progress = &p
			r = serveCut(t, there, 0, 0, nil)
			report, err = transfer.Copy(t.Context(), []transfer.Place{r.at("src")}, local(home), tt.o)
			demand(t, report, err)
			if resumed := p.Look().Resumed > 0; resumed != tt.resume {
				t.Errorf("resumed: %v, %+v", resumed, p.Look())
			}
			if read(t, home, "src") != read(t, src) || len(names(t, home)) != 1 {
				t.Errorf("the file differs, or there is more: %q", names(t, home))
			}
		})
	}
}

// rewrite changes bytes of a file; a negative place counts from its end.
func rewrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += fi.Size()
	}
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// TestInterrupted: what can be gone on with is kept here; a twin that is deleted
// is not left with parts.
func TestInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name      string
		up        bool
		size, cut int
		keep      func(transfer.FS) bool
		parts     int
	}{
		{"a download", false, large, 13 << 20, nil, 1},
		{"a small download", false, 6 << 20, 3 << 20, nil, 0},
		{"an upload", true, large, 13 << 20, nil, 0},
		{"an upload into what stays", true, large, 13 << 20, func(transfer.FS) bool { return true }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, there := t.TempDir(), t.TempDir()
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			in, out := 0, tt.cut
			if tt.up {
				in, out = out, in
			}
			r := serveCut(t, there, in, out, func(net.Conn) { cancel(why) })
			from, to, dir := r.at("src"), local(filepath.Join(home, "dst")), home
			file(t, there, "src", noise(tt.size), 0o644)
			if tt.up {
				dir = filepath.Join(there, "new")
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				from, to = local(file(t, home, "src", noise(tt.size), 0o644)), r.at("new/dst")
			}
			report, err := transfer.Copy(ctx, []transfer.Place{from}, to, transfer.Options{Keep: tt.keep})
			if !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
			if got := names(t, dir); len(got) != tt.parts || len(report.Parts) != tt.parts {
				t.Errorf("left are %q; report %+v", got, report)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	r := serve(t, "r")
	content := noise(5<<20 + 1)
	for name, send := range map[string][]byte{"file": content, "none": nil, "few": []byte("x")} {
		report, err := transfer.Send(t.Context(), bytes.NewReader(send), r.at(name), transfer.Options{})
		demand(t, report, err)
		if got := read(t, r.dir, name); got != string(send) {
			t.Errorf("%s: %d bytes arrived, of %d", name, len(got), len(send))
		}
	}
	// A pipe gives little at a time.
	pr, pw := io.Pipe()
	go func() {
		for range 1000 {
			_, _ = io.WriteString(pw, "0123456789")
		}
		_ = pw.Close()
	}()
	report, err := transfer.Send(t.Context(), pr, r.at("file"), transfer.Options{})
	demand(t, report, err)
	if got := read(t, r.dir, "file"); got != strings.Repeat("0123456789", 1000) {
		t.Errorf("%d bytes arrived", len(got))
	}
	if _, err := transfer.Send(t.Context(), pr, r.at("."), transfer.Options{}); err == nil || !strings.Contains(err.Error(), "needs the name of a file") {
		t.Errorf("got %v", err)
	}
	bad := errors.New("bad tape")
	if _, err := transfer.Send(t.Context(), io.MultiReader(strings.NewReader("x"), broken{bad}), r.at("broken"), transfer.Options{}); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	file(t, r.dir, "big", content, 0o644)
	var out bytes.Buffer
	report, err = transfer.Fetch(t.Context(), []transfer.Place{r.at("big"), r.at("none"), r.at("missing"), r.at("few"), r.at("/tmp")}, &out, transfer.Options{})
	demandFailures(t, err, "/tmp: is a directory", "missing: file does not exist")
	if out.String() != string(content)+"x" || report.Files != 3 {
		t.Errorf("%d bytes came, report %+v", out.Len(), report)
	}
	if _, err := transfer.Fetch(t.Context(), []transfer.Place{r.at("big")}, broken{bad}, transfer.Options{}); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	if got := names(t, r.dir); strings.Contains(strings.Join(got, " "), "part") {
		t.Errorf("left are %q", got)
	}
}

// broken is what cannot be read or written.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error)  { return 0, b.err }
func (b broken) Write([]byte) (int, error) { return 0, b.err }
