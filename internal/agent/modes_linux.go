package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	getTermios   = unix.TCGETS
	setTermios   = unix.TCSETS
	breakRequest = unix.TCSBRK
	posixDisable = 0
)

type termiosFlag = uint32

func specialCharacters() map[uint8]int {
	return map[uint8]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT,
		16: unix.VSWTC, 18: unix.VDISCARD,
	}
}

func inputFlags() map[uint8]termiosFlag {
	return map[uint8]termiosFlag{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR,
		36: unix.ICRNL, 37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
}

func localFlags() map[uint8]termiosFlag {
	return map[uint8]termiosFlag{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
}

func outputFlags() map[uint8]termiosFlag {
	return map[uint8]termiosFlag{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
}

func controlFlags() map[uint8]termiosFlag {
	return map[uint8]termiosFlag{92: unix.PARENB, 93: unix.PARODD}
}

// isSubreaper reports whether orphans below this process become its children,
// prctl(2).
func isSubreaper() bool {
	var is int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&is)), 0, 0, 0) //nolint:gosec // the kernel writes its answer there
	return err == nil && is != 0
}
