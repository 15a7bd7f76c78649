//go:build linux || darwin

package agent

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// signalNumber is the number of a signal by its name without "SIG": those of
// RFC 4254 §6.10 and the system's others, such as WINCH and CONT.
func signalNumber(name string) (syscall.Signal, bool) {
	sig := unix.SignalNum("SIG" + name)
	return sig, sig != 0
}

// exitStatus is how a program ended.
type exitStatus struct{ status syscall.WaitStatus }

// request is the name of the channel request that tells it.
func (e exitStatus) request() string {
	if e.status.Signaled() {
		return "exit-signal"
	}
	return "exit-status"
}

// payload is that request's. RFC 4254 §6.10 knows thirteen signal names; the
// system's others go out under their own names as well, since "killed by BUS" is
// better than no name.
func (e exitStatus) payload() []byte {
	if !e.status.Signaled() {
		return ssh.Marshal(struct{ Status uint32 }{uint32(e.status.ExitStatus())})
	}
	return ssh.Marshal(struct {
		Signal     string
		CoreDumped bool
		Message    string
		Language   string
	}{e.signalName(), e.status.CoreDump(), e.status.Signal().String(), "en"})
}

func (e exitStatus) signalName() string {
	sig := e.status.Signal()
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprintf("%d@cloudssh", int(sig)) // real-time signals have no names
}

func (e exitStatus) String() string {
	if e.status.Signaled() {
		return e.signalName()
	}
	return fmt.Sprint(e.status.ExitStatus())
}
