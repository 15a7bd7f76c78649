//go:build linux || darwin

package agent

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// parseModes decodes the terminal modes of a pty-req, RFC 4254 §8: an opcode
// and a uint32 each, up to opcode 0. Opcodes from 160 have no known form and
// end it, too.
func parseModes(encoded []byte) map[uint8]uint32 {
	modes := make(map[uint8]uint32)
	for len(encoded) >= 5 && encoded[0] != 0 && encoded[0] < 160 {
		modes[encoded[0]] = binary.BigEndian.Uint32(encoded[1:])
		encoded = encoded[5:]
	}
	return modes
}

// disabled is how RFC 4254 says that no character has a special meaning; here
// that is _POSIX_VDISABLE.
const disabled = 255

// setModes changes attr by RFC 4254's opcodes. Those without a counterpart
// here, and the speeds of a line that has none, are ignored.
func setModes(attr *unix.Termios, modes map[uint8]uint32) {
	for opcode, index := range specialCharacters() {
		if value, ok := modes[opcode]; ok {
			attr.Cc[index] = byte(value)
			if value == disabled {
				attr.Cc[index] = posixDisable
			}
		}
	}
	set := func(flags map[uint8]termiosFlag, field *termiosFlag) {
		for opcode, flag := range flags {
			value, ok := modes[opcode]
			switch {
			case ok && value != 0:
				*field |= flag
			case ok:
				*field &^= flag
			}
		}
	}
	set(inputFlags(), &attr.Iflag)
	set(localFlags(), &attr.Lflag)
	set(outputFlags(), &attr.Oflag)
	set(controlFlags(), &attr.Cflag)
	setCharacterSize(attr, modes)
}

// setCharacterSize applies CS7 (90) and CS8 (91), which are values of one field.
func setCharacterSize(attr *unix.Termios, modes map[uint8]uint32) {
	if modes[90] != 0 {
		attr.Cflag = attr.Cflag&^unix.CSIZE | unix.CS7
	}
	if modes[91] != 0 {
		attr.Cflag = attr.Cflag&^unix.CSIZE | unix.CS8
	}
}
