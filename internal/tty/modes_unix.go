//go:build unix

package tty

import "golang.org/x/sys/unix"

// word names one of the four flag words of a termios.
type word int

const (
	iflag word = iota
	oflag
	cflag
	lflag
)

// flag is a terminal mode: its opcode in RFC 4254 section 8 (IUTF8: RFC 8160)
// and the bit it stands for.
type flag struct {
	opcode uint8
	word   word
	bit    uint64
}

func flags() []flag {
	return append(platformFlags(), []flag{
		{30, iflag, unix.IGNPAR},
		{31, iflag, unix.PARMRK},
		{32, iflag, unix.INPCK},
		{33, iflag, unix.ISTRIP},
		{34, iflag, unix.INLCR},
		{35, iflag, unix.IGNCR},
		{36, iflag, unix.ICRNL},
		{38, iflag, unix.IXON},
		{39, iflag, unix.IXANY},
		{40, iflag, unix.IXOFF},
		{41, iflag, unix.IMAXBEL},
		{42, iflag, unix.IUTF8},
		{50, lflag, unix.ISIG},
		{51, lflag, unix.ICANON},
		{53, lflag, unix.ECHO},
		{54, lflag, unix.ECHOE},
		{55, lflag, unix.ECHOK},
		{56, lflag, unix.ECHONL},
		{57, lflag, unix.NOFLSH},
		{58, lflag, unix.TOSTOP},
		{59, lflag, unix.IEXTEN},
		{60, lflag, unix.ECHOCTL},
		{61, lflag, unix.ECHOKE},
		{62, lflag, unix.PENDIN},
		{70, oflag, unix.OPOST},
		{72, oflag, unix.ONLCR},
		{73, oflag, unix.OCRNL},
		{74, oflag, unix.ONOCR},
		{75, oflag, unix.ONLRET},
		{92, cflag, unix.PARENB},
		{93, cflag, unix.PARODD},
	}...)
}

// modes encodes the modes of a terminal for a pty-req.
func modes(s *state) map[uint8]uint32 {
	t := &s.termios
	m := make(map[uint8]uint32)
	for opcode, i := range chars() {
		c := uint32(t.Cc[i])
		if c == disabled {
			c = 255 // RFC 4254: "255 if none"
		}
		m[opcode] = c
	}
	words := map[word]uint64{
		iflag: uint64(t.Iflag), oflag: uint64(t.Oflag), cflag: uint64(t.Cflag), lflag: uint64(t.Lflag),
	}
	for _, f := range flags() {
		m[f.opcode] = 0
		if words[f.word]&f.bit != 0 {
			m[f.opcode] = 1
		}
	}
	m[90], m[91] = 0, 0 // CS7 and CS8 are values of a two-bit field
	switch words[cflag] & unix.CSIZE {
	case unix.CS7:
		m[90] = 1
	case unix.CS8:
		m[91] = 1
	}
	m[128], m[129] = speeds(t)
	return m
}
