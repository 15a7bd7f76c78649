//go:build linux || darwin

package agent

import "syscall"

// An oomWatch tells whether the kernel killed somebody since it was made.
type oomWatch struct{ before int }

func watchOOM() oomWatch { return oomWatch{oomKills()} }

// explain says why a process was killed, if its end looks like lack of memory;
// "" if not. The kernel does not say whom it killed, so a SIGKILL of another
// origin can be taken for its, if that comes together.
func (w oomWatch) explain(status syscall.WaitStatus) string {
	if !status.Signaled() || status.Signal() != syscall.SIGKILL || w.before < 0 || oomKills() <= w.before {
		return ""
	}
	return "killed by the kernel: the instance's memory is used up (a twin with more: --memory)"
}
