package tty

import "golang.org/x/sys/unix"

const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS
	// disabled is the control character that stands for none.
	disabled = 0
)

// chars maps opcodes of RFC 4254 section 8 to indices of the control characters.
func chars() map[uint8]int {
	return map[uint8]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL,
		7: unix.VEOL2, 8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT,
		13: unix.VWERASE, 14: unix.VLNEXT, 16: unix.VSWTC, 18: unix.VDISCARD,
	}
}

// platformFlags are the flags that Linux alone has.
func platformFlags() []flag {
	return []flag{
		{37, iflag, unix.IUCLC}, {52, lflag, unix.XCASE}, {71, oflag, unix.OLCUC},
	}
}

// speeds returns the line speeds in bits per second. Terminals that are no
// serial lines have no real speed; 38400 is what they claim.
func speeds(t *unix.Termios) (in, out uint32) {
	s := uint32(38400)
	for bits, code := range map[uint32]uint32{
		9600: unix.B9600, 19200: unix.B19200, 38400: unix.B38400, 57600: unix.B57600, 115200: unix.B115200,
	} {
		if t.Cflag&unix.CBAUD == code {
			s = bits
		}
	}
	return s, s
}

// waitReadable blocks until fd or wake can be read, and says whether fd can.
func waitReadable(fd, wake int) (ready bool, err error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	if err := ignoringEINTR(func() error { _, err := unix.Poll(p, -1); return err }); err != nil {
		return false, err
	}
	return p[1].Revents == 0 && p[0].Revents != 0, nil
}
