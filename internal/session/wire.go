package session

import (
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/tty"
)

// window is the payload of window-change, RFC 4254 section 6.7, and a part
// of that of pty-req.
type window struct{ Cols, Rows, Width, Height uint32 }

func windowOf(s tty.Size) window {
	return window{dimension(s.Cols), dimension(s.Rows), dimension(s.Width), dimension(s.Height)}
}

func dimension(n int) uint32 {
	return uint32(min(max(n, 0), 1<<16-1))
}

// ptyRequest is the payload of pty-req, RFC 4254 section 6.2.
func ptyRequest(t *Terminal) []byte {
	w := windowOf(t.Size)
	return ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{t.Term, w.Cols, w.Rows, w.Width, w.Height, marshalModes(t.Modes)})
}

// marshalModes encodes terminal modes, RFC 4254 section 8.
func marshalModes(modes map[uint8]uint32) string {
	const end, reserved = 0, 160 // opcodes from 160 on have no defined argument
	var b []byte
	for _, opcode := range slices.Sorted(maps.Keys(modes)) {
		if opcode == end || opcode >= reserved {
			continue
		}
		b = append(b, opcode)
		b = binary.BigEndian.AppendUint32(b, modes[opcode])
	}
	return string(append(b, end))
}

// marshalArgv encodes an argument vector: its length, then its strings. It is
// our own request, because exec has only one string, which a shell would have
// to take apart again.
func marshalArgv(argv []string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(argv)))
	for _, a := range argv {
		b = binary.BigEndian.AppendUint32(b, uint32(len(a)))
		b = append(b, a...)
	}
	return b
}
