//go:build linux || darwin

package sftp

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// FuzzServe gives a server whatever bytes a client could send. Each complete
// packet with a number gets one answer, under that number, which says no more
// than a packet holds.
func FuzzServe(f *testing.F) {
	all := attributes{flags: 15, size: 3, permissions: 0o4755, atime: 1, mtime: 2}
	n := uint32(1)
	one := []byte{0, 0, 0, 1} // the first handle
	seeds := [][]byte{
		pack(fxpOpen, n, "a", uint32(openRead|openWrite|openCreate), all),
		pack(fxpOpen, n, "a", uint32(openRead), attributes{}),
		pack(fxpWrite, n, one, uint64(3), "text"),
		pack(fxpRead, n, one, uint64(0), uint32(10)),
		pack(fxpRead, n, one, uint64(1<<63), uint32(1<<31)),
		pack(fxpFstat, n, one),
		pack(fxpFsetstat, n, one, all),
		pack(fxpOpendir, n, "."),
		pack(fxpReaddir, n, one),
		pack(fxpStat, n, "a"), pack(fxpLstat, n, "a"), pack(fxpReadlink, n, "a"), pack(fxpRealpath, n, "."),
		pack(fxpSetstat, n, "a", all),
		pack(fxpSetstat, n, "a", uint32(attrExtended), uint32(1), "kind", "value"),
		pack(fxpSetstat, n, "a", uint32(attrExtended), uint32(1<<31)),
		pack(fxpMkdir, n, "d", all), pack(fxpRmdir, n, "d"), pack(fxpRemove, n, "a"),
		pack(fxpRename, n, "a", "b"), pack(fxpSymlink, n, "a", "b"),
		pack(fxpClose, n, one),
		pack(fxpExtended, n, "limits@openssh.com"),
		pack(fxpExtended, n, "statvfs@openssh.com", "."),
		pack(fxpExtended, n, "fstatvfs@openssh.com", one),
		pack(fxpExtended, n, "posix-rename@openssh.com", "a", "b"),
		pack(fxpExtended, n, "hardlink@openssh.com", "a", "b"),
		pack(fxpExtended, n, "fsync@openssh.com", one),
		pack(fxpExtended, n, "lsetstat@openssh.com", "a", all),
		pack(fxpExtended, n, "expand-path@openssh.com", "~"),
		pack(fxpExtended, n, "home-directory", ""),
		pack(fxpExtended, n, "users-groups-by-id@openssh.com", one, one),
		pack(fxpInit, uint32(3)),
	}
	for i, seed := range seeds {
		f.Add(seed)
		f.Add(bytes.Join(seeds[:i], nil))
		f.Add(seed[:len(seed)-1])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// Names must not lead out of the directory, nor copies be endless.
		for _, bad := range []string{"/", "..", "copy-data"} {
			if bytes.Contains(in, []byte(bad)) {
				t.Skip("not on this machine")
			}
		}
		var out bytes.Buffer
		stream := struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(append(pack(fxpInit, uint32(3)), in...)), &out}
		served := Serve(stream, Options{Dir: t.TempDir(), Home: "~"})
		want := numbers(in)
		got := answers(t, out.Bytes())
		if len(got) != len(want) {
			t.Errorf("%d answers to %d requests, %v", len(got), len(want), served)
		}
		for id, n := range got {
			if want[id] != n {
				t.Errorf("%d answers to %d, want %d", n, id, want[id])
			}
		}
	})
}

// numbers counts the complete requests of a stream, by number.
func numbers(in []byte) map[uint32]int {
	ids := map[uint32]int{3: 1} // the greeting's version is where others have a number
	for len(in) >= 9 {
		n := binary.BigEndian.Uint32(in)
		if n < 5 || n > maxPacket || uint64(len(in)-4) < uint64(n) {
			break
		}
		id := binary.BigEndian.Uint32(in[5:])
		if in[4] == fxpInit {
			id = 3
		}
		ids[id]++
		in = in[4+n:]
	}
	return ids
}

// answers counts answers by number.
func answers(t *testing.T, out []byte) map[uint32]int {
	t.Helper()
	ids := map[uint32]int{}
	for len(out) > 0 {
		n := binary.BigEndian.Uint32(out)
		if n > maxPacket || int(n) > len(out)-4 {
			t.Fatalf("an answer of %d bytes", n)
		}
		ids[binary.BigEndian.Uint32(out[5:])]++
		out = out[4+n:]
	}
	return ids
}
