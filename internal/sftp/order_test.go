//go:build linux || darwin

package sftp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBefore(t *testing.T) {
	a, b := &handle{inode: 1}, &handle{inode: 2}
	again := &handle{inode: 1} // another handle of the same file
	dir, otherDir := &handle{dir: os.Stdin, inode: 3}, &handle{dir: os.Stdin, inode: 3}
	on := func(o order, h *handle) *job { return &job{order: o, files: [2]*handle{h}} }
	readAt := func(h *handle, offset, length uint64) *job {
		return &job{order: reads, files: [2]*handle{h}, offset: offset, length: length}
	}
	look := &job{order: looks}
	copying := &job{order: changes, files: [2]*handle{a, b}}
	for _, c := range []struct {
		what           string
		earlier, later *job
		want           bool
	}{
		{"two looks", look, look, false},
		{"a barrier, then anything", &job{order: barrier}, &job{}, true},
		{"anything, then a barrier", &job{}, &job{order: barrier}, true},
		{"write, then read", on(changes, a), readAt(a, 0, 1), true},
		{"read, then write", readAt(a, 0, 1), on(changes, a), true},
		{"write, then read by another handle", on(changes, a), readAt(again, 0, 1), true},
		{"write, then read another file", on(changes, a), readAt(b, 0, 1), false},
		{"write two files", on(changes, a), on(changes, b), false},
		{"write twice", on(changes, a), on(changes, a), true},
		{"write, then stat", on(changes, a), look, true},
		{"stat, then write", look, on(changes, a), true},
		{"read, then stat", readAt(a, 0, 1), look, false},
		{"read here and there", readAt(a, 0, 10), readAt(a, 100, 10), false},
		{"read on", readAt(a, 0, 10), readAt(a, 10, 10), true},
		{"read on in another file", readAt(a, 0, 10), readAt(b, 10, 10), false},
		{"copy, then read either", copying, readAt(b, 0, 1), true},
		{"read, then copy", readAt(a, 0, 1), copying, true},
		{"list on", on(lists, dir), on(lists, dir), true},
		{"list twice", on(lists, dir), on(lists, otherDir), false},
		{"list, then write", on(lists, dir), on(changes, a), true},
		{"write, then list", on(changes, a), on(lists, dir), true},
		{"list, then stat", on(lists, dir), look, false},
	} {
		if got := c.earlier.before(c.later); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// covers only saves work: with all jobs of a kind, what it leaves out waits for
// the one that covers it.
func TestCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	files := []*handle{nil, {inode: 1}, {inode: 2}, {inode: 1}, {dir: os.Stdin}}
	some := func() *job {
		j := &job{order: order(r.IntN(int(barrier) + 1)), offset: r.Uint64N(3), length: 1}
		if j.order > looks && j.order < barrier {
			j.files[0] = files[1+r.IntN(4)]
			j.files[1] = files[r.IntN(5)]
		}
		return j
	}
	for range 50_000 {
		old, middle, young := some(), some(), some()
		if middle.before(young) && middle.covers(young) && old.before(young) && !old.before(middle) {
			t.Fatalf("%+v, %+v, %+v", old, middle, young)
		}
	}
}

// A script is random requests about a few files. The client opens the handles
// first, so that it can send all the rest without waiting.
type script []func(p *peer, h []string) uint32

func randomScript(r *rand.Rand, handles, n int) script {
	names := []string{"a", "b", "c", "d", "d/a", "d/b"}
	var s script
	for range n {
		kind, h := r.IntN(16), r.IntN(handles)
		x, y := names[r.IntN(len(names))], names[r.IntN(len(names))]
		at, size := r.Uint64N(50_000), r.IntN(20_000)
		text := strings.Repeat(string(rune('a'+r.IntN(26))), size)
		s = append(s, func(p *peer, hs []string) uint32 {
			switch kind {
			case 0, 1, 2:
				return p.ask(fxpRead, hs[h], at, uint32(size))
			case 3, 4, 5:
				return p.ask(fxpWrite, hs[h], at, text)
			case 6:
				return p.ask(fxpFsetstat, hs[h], attributes{flags: attrSize, size: at})
			case 7, 8:
				return p.ask(fxpStat, x)
			case 9:
				return p.ask(fxpFstat, hs[h])
			case 10:
				return p.ask(fxpRename, x, y)
			case 11:
				return p.ask(fxpRemove, x)
			case 12:
				return p.ask(fxpMkdir, x, attributes{})
			case 13:
				return p.ask(fxpExtended, "copy-data", hs[h], at, uint64(size), hs[(h+1)%len(hs)], uint64(0))
			case 14:
				return p.ask(fxpClose, hs[h])
			}
			return p.ask(fxpExtended, "hardlink@openssh.com", x, y)
		})
	}
	return s
}

// run runs a script, waiting for each answer or for none, and returns the
// answers without what differs from run to run, and the files afterwards.
func (s script) run(t *testing.T, wait bool) (answers, files []string) {
	t.Helper()
	dir := t.TempDir()
	p := newPeer(t, dir)
	var handles []string
	for _, name := range []string{"a", "a", "b", "c"} {
		handles = append(handles, p.open(name, openRead|openWrite|openCreate))
	}
	answers = make([]string, len(s))
	first := p.id + 1
	receive := func() {
		a := p.receive()
		if a.kind == fxpAttrs {
			at := a.attributes()
			at.atime, at.mtime = 0, 0
			answers[a.id-first] = fmt.Sprintf("%+v", at)
			return
		}
		answers[a.id-first] = fmt.Sprint(a.kind, string(a.rest))
	}
	received := make(chan struct{})
	if !wait {
		go func() {
			defer close(received)
			for range s {
				receive()
			}
		}()
	}
	for _, request := range s {
		if request(p, handles); wait {
			receive()
		}
	}
	if !wait {
		<-received
	}
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files = append(files, strings.TrimPrefix(path, dir)+" "+string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return answers, files
}

// Whatever runs at the same time, a client that waits for nothing gets the
// same answers and the same files as one that waits for each answer.
func TestPipelinedIsSequential(t *testing.T) {
	for seed := range uint64(12) {
		s := randomScript(rand.New(rand.NewPCG(seed, 0)), 4, 400)
		answers, files := s.run(t, true)
		pipelined, filesThen := s.run(t, false)
		for i := range answers {
			if answers[i] != pipelined[i] {
				t.Fatalf("seed %d, request %d: %.100q, and pipelined %.100q", seed, i, answers[i], pipelined[i])
			}
		}
		if !slices.Equal(files, filesThen) {
			t.Fatalf("seed %d: the files differ", seed)
		}
	}
}

// A client that reads no answers is not served without end: memory is bounded.
func TestSlowReader(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, dir)
	h := p.open("f", openRead)
	const n = 500
	var asked []byte
	for i := range uint32(n) {
		asked = append(asked, pack(fxpRead, i, h, uint64(0), uint32(maxData))...)
	}
	if _, err := p.conn.Write(asked); err != nil {
		t.Fatal(err)
	}
	for range n {
		if a := p.receive(); a.kind != fxpData || len(a.string()) != maxData {
			t.Fatalf("a reply of type %d", a.kind)
		}
	}
}
