package runtime

import (
	"fmt"
	"strings"
	"syscall"
)

const (
	sigkill = syscall.Signal(9)

	// Linux's signals from 1 on. The containers are Linux whatever this process runs
	// on, so that the names cannot come from the syscall package.
	signalNames = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
		"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)

// signalName returns the name of a Linux signal: "SIGKILL" for 9.
func signalName(sig syscall.Signal) string {
	names := strings.Fields(signalNames)
	if n := int(sig); n >= 1 && n <= len(names) {
		return "SIG" + names[n-1]
	}
	return fmt.Sprintf("SIG%d", int(sig))
}

// killedBy is the exit of a process that a signal ended.
func killedBy(sig syscall.Signal) Exit {
	return Exit{Code: 128 + int(sig), Signal: signalName(sig)}
}
