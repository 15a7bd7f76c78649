//go:build linux || darwin

package agent

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// children starts processes and waits for them.
//
// As PID 1, or as a child subreaper, the agent inherits the orphans of the
// container and has to reap them: each would stay a zombie and hold its process
// id. There is no way to wait for "all but ours", and a wait4(-1) that competes
// with os/exec's wait for one pid steals its status. So there is exactly one
// reaper then: it calls wait4(-1) on every SIGCHLD, hands each status to who
// waits for that pid, and drops the others, which are orphans. Starting a
// process and making its pid known happen under the mutex that the reaper takes,
// so that no child can be reaped before it is known; inside the mutex os/exec
// may also reap a child whose exec failed. pidfds would do away with the race
// but not with wait4, and gVisor (gen1) does not have them in all versions.
//
// Otherwise children are os/exec's business and orphans somebody else's.
type children struct {
	reaping bool
	signals chan os.Signal
	stopped chan struct{}
	done    sync.WaitGroup
	heeding sync.Once

	mu      sync.Mutex
	waiting map[int]chan<- syscall.WaitStatus
}

func newChildren() *children {
	c := &children{reaping: os.Getpid() == 1 || isSubreaper(), waiting: make(map[int]chan<- syscall.WaitStatus)}
	if c.reaping {
		c.signals = make(chan os.Signal, 1)
		c.stopped = make(chan struct{})
		signal.Notify(c.signals, syscall.SIGCHLD)
		c.done.Go(c.reapAll)
	}
	return c
}

func (c *children) close() {
	if c.reaping {
		signal.Stop(c.signals)
		close(c.stopped)
		c.done.Wait()
	}
}

// start starts cmd, whose standard files must be *os.File. wait may be called
// once, in place of cmd.Wait.
func (c *children) start(cmd *exec.Cmd) (pid int, wait func() (syscall.WaitStatus, error), err error) {
	c.heeding.Do(heedSignals)
	if !c.reaping {
		if err := cmd.Start(); err != nil {
			return 0, nil, err
		}
		return cmd.Process.Pid, func() (syscall.WaitStatus, error) { return waitFor(cmd) }, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	pid = cmd.Process.Pid
	status := make(chan syscall.WaitStatus, 1)
	c.waiting[pid] = status
	if err := cmd.Process.Release(); err != nil { // the reaper waits for it
		return 0, nil, fmt.Errorf("releasing process %d: %w", pid, err)
	}
	return pid, func() (syscall.WaitStatus, error) { return <-status, nil }, nil
}

// heedSignals has programs start with the usual answer to the signals that whoever
// started us has us ignore, as nohup does, and shells for what runs in the
// background: Go hands that on, and a hang-up would end nothing. We go on to
// ignore them.
func heedSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

func waitFor(cmd *exec.Cmd) (syscall.WaitStatus, error) {
	err := cmd.Wait()
	if cmd.ProcessState == nil {
		return 0, err
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return 0, fmt.Errorf("no wait status in %T", cmd.ProcessState.Sys())
	}
	return status, nil
}

func (c *children) reapAll() {
	for {
		// Before the first signal too: the container may have been busy
		// before us. Signals that come together are one.
		c.reap()
		select {
		case <-c.signals:
		case <-c.stopped:
			return
		}
	}
}

func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if waiter, ok := c.waiting[pid]; ok {
			delete(c.waiting, pid)
			waiter <- status
		}
	}
}
