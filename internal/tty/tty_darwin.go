package tty

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
	// disabled is the control character that stands for none.
	disabled = 0xff
)

// chars maps opcodes of RFC 4254 section 8 to indices of the control characters.
func chars() map[uint8]int {
	return map[uint8]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL,
		7: unix.VEOL2, 8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 11: unix.VDSUSP,
		12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 17: unix.VSTATUS, 18: unix.VDISCARD,
	}
}

// platformFlags are the flags that Darwin alone has: none.
func platformFlags() []flag { return nil }

// speeds returns the line speeds in bits per second.
func speeds(t *unix.Termios) (in, out uint32) {
	return uint32(t.Ispeed), uint32(t.Ospeed)
}

// waitReadable blocks until fd or wake can be read, and says whether fd can.
// It uses select because Darwin's poll does not support terminals.
func waitReadable(fd, wake int) (ready bool, err error) {
	if max(fd, wake) >= unix.FD_SETSIZE {
		return false, fmt.Errorf("descriptor %d is too large for select", max(fd, wake))
	}
	var set unix.FdSet
	err = ignoringEINTR(func() error {
		set.Zero()
		set.Set(fd)
		set.Set(wake)
		_, err := unix.Select(max(fd, wake)+1, &set, nil, nil, nil)
		return err
	})
	if err != nil {
		return false, err
	}
	return !set.IsSet(wake) && set.IsSet(fd), nil
}
