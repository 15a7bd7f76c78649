//go:build linux || darwin

package shell

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// forgetDone drops the jobs that are done and were told of.
func (s *Shell) forgetDone() {
	for _, j := range s.jobs.all() {
		j.mu.Lock()
		over := j.state == done && (j.told == done || j.disowned)
		j.mu.Unlock()
		if over {
			s.jobs.remove(j)
		}
	}
}

// report tells of jobs that have changed since the user was last told.
func (s *Shell) report() {
	for _, j := range s.jobs.all() {
		mark := s.jobs.mark(j)
		j.mu.Lock()
		news := j.state != j.told && !j.disowned
		j.told = j.state
		j.mu.Unlock()
		if news {
			fmt.Fprintln(s.Stderr, j.describe(mark)) //nolint:errcheck // there is nobody left to tell
		}
	}
	s.forgetDone()
}

func jobsBuiltin(c *builtinCall) error {
	jobs := c.shell.jobs.all()
	only := state(-1)
	args := c.args[1:]
	short := false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		for _, flag := range args[0][1:] {
			switch flag {
			case 'p':
				short = true
			case 'r':
				only = running
			case 's':
				only = stopped
			case 'l':
			default:
				return c.failf(2, "-%c: invalid option", flag)
			}
		}
		args = args[1:]
	}
	if len(args) > 0 {
		jobs = nil
		for _, spec := range args {
			j, err := c.shell.jobs.find(spec)
			if err != nil {
				return c.failf(1, "%v", err)
			}
			jobs = append(jobs, j)
		}
	}
	for _, j := range jobs {
		c.shell.printJob(c, j, short, only)
	}
	c.shell.forgetDone()
	return nil
}

func (s *Shell) printJob(c *builtinCall, j *job, short bool, only state) {
	mark := s.jobs.mark(j)
	j.mu.Lock()
	state, hidden, programs := j.state, j.disowned, append([]int(nil), j.programs...)
	j.told = state
	j.mu.Unlock()
	switch {
	case hidden || only >= 0 && state != only:
	case short && len(programs) > 0:
		c.printf("%d\n", programs[0])
	case short:
		c.printf("%%%d\n", j.id)
	default:
		c.printf("%s\n", j.describe(mark))
	}
}

// oneJob is the job that an argument names, or the current one.
func (c *builtinCall) oneJob(args []string) (*job, error) {
	spec := "%%"
	if len(args) > 0 {
		spec = args[0]
	}
	return c.shell.jobs.find(spec)
}

func fgBuiltin(c *builtinCall) error {
	s := c.shell
	j, err := c.oneJob(c.args[1:])
	if err != nil {
		return c.failf(1, "%v", err)
	}
	c.printf("%s\n", j.text)
	j.mu.Lock()
	over, group := j.state == done, j.group
	j.back = false
	j.mu.Unlock()
	if over {
		s.jobs.remove(j)
		return c.failf(1, "job has terminated")
	}
	s.jobs.add(j)
	before := s.setForeground(j)
	defer s.setForeground(before)
	if group != 0 {
		s.tty.give(group)
	}
	j.resume()
	state, err := j.wait(c, true)
	s.tty.take()
	if err != nil {
		return exitStatus(causeStatus(err))
	}
	if state == stopped {
		s.leave(j)
		return exitStatus(128 + int(syscall.SIGTSTP))
	}
	s.jobs.remove(j)
	j.mu.Lock()
	defer j.mu.Unlock()
	return exitStatus(j.status)
}

// leave puts a stopped job into the background, and says so.
func (s *Shell) leave(j *job) {
	j.mu.Lock()
	j.back = true
	j.told = stopped
	j.mu.Unlock()
	s.jobs.add(j)
	fmt.Fprintf(s.Stderr, "\n%s\n", j.describe(s.jobs.mark(j))) //nolint:errcheck // there is nobody left to tell
}

func bgBuiltin(c *builtinCall) error {
	specs := c.args[1:]
	if len(specs) == 0 {
		specs = []string{"%%"}
	}
	var last error
	for _, spec := range specs {
		j, err := c.shell.jobs.find(spec)
		if err != nil {
			last = c.failf(1, "%v", err)
			continue
		}
		j.resume()
		j.mu.Lock()
		j.back, j.told = true, j.state
		j.mu.Unlock()
		c.printf("[%d]%c %s &\n", j.id, c.shell.jobs.mark(j), j.text)
	}
	return last
}

// waitBuiltin waits for jobs; without a name for all, with -n for the first.
func waitBuiltin(c *builtinCall) error {
	args := c.args[1:]
	if len(args) > 0 && args[0] == "-n" {
		return waitAny(c)
	}
	if len(args) == 0 {
		for _, j := range c.shell.jobs.all() {
			if j == c.job {
				continue
			}
			if _, err := j.wait(c, c.shell.interactive); err != nil {
				return exitStatus(causeStatus(err))
			}
			c.shell.told(j)
		}
		return nil
	}
	var last error
	for _, spec := range args {
		j, err := c.shell.jobs.find(spec)
		if err != nil || !strings.HasPrefix(spec, "%") {
			last = c.failf(127, "%s: not a job of this shell", spec)
			continue
		}
		if _, err := j.wait(c, false); err != nil {
			return exitStatus(causeStatus(err))
		}
		c.shell.told(j)
		last = exitStatus(j.status)
	}
	return last
}

// told notes that the user knows of a job's end. The job stays known while the
// shell is not interactive: a script may ask for its status again.
func (s *Shell) told(j *job) {
	j.mu.Lock()
	over := j.state == done
	if over {
		j.told = done
	}
	j.mu.Unlock()
	if over && s.interactive {
		s.jobs.remove(j)
	}
}

func waitAny(c *builtinCall) error {
	ctx, cancel := context.WithCancel(c)
	defer cancel()
	ended := make(chan *job)
	n := 0
	for _, j := range c.shell.jobs.all() {
		j.mu.Lock()
		known := j.told == done
		j.mu.Unlock()
		if j == c.job || known {
			continue
		}
		n++
		go func() {
			if state, err := j.wait(ctx, false); err != nil || state != done {
				return
			}
			select {
			case ended <- j:
			case <-ctx.Done():
			}
		}()
	}
	if n == 0 {
		return exitStatus(127)
	}
	select {
	case j := <-ended:
		c.shell.told(j)
		return exitStatus(j.status)
	case <-c.Done():
		return exitStatus(causeStatus(context.Cause(c)))
	}
}

func disownBuiltin(c *builtinCall) error {
	args := c.args[1:]
	var jobs []*job
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if args[0] == "-a" || args[0] == "-r" {
			jobs = c.shell.jobs.all()
		}
		args = args[1:]
	}
	if len(jobs) == 0 {
		j, err := c.oneJob(args)
		if err != nil {
			return c.failf(1, "%v", err)
		}
		jobs = []*job{j}
	}
	for _, j := range jobs {
		j.mu.Lock()
		j.disowned = true
		j.mu.Unlock()
	}
	return nil
}

func killBuiltin(c *builtinCall) error {
	args, sig := c.args[1:], syscall.SIGTERM
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		arg := args[0]
		args = args[1:]
		name := arg[1:]
		switch {
		case arg == "--":
			return c.killAll(args, sig)
		case arg == "-l" || arg == "-L":
			return c.listSignals(args)
		case (arg == "-s" || arg == "-n") && len(args) > 0:
			name, args = args[0], args[1:]
		}
		var err error
		if sig, err = signalNumber(name); err != nil {
			return c.failf(1, "%v", err)
		}
	}
	return c.killAll(args, sig)
}

func (c *builtinCall) killAll(args []string, sig syscall.Signal) error {
	if len(args) == 0 {
		return c.failf(2, "usage: kill [-s SIGNAL | -SIGNAL] JOB|PID...")
	}
	var last error
	for _, arg := range args {
		if strings.HasPrefix(arg, "%") {
			j, err := c.shell.jobs.find(arg)
			if err == nil && j.over() {
				err = fmt.Errorf("%s: no such job", arg)
			}
			if err != nil {
				last = c.failf(1, "%v", err)
				continue
			}
			j.kill(sig)
			continue
		}
		pid, err := strconv.Atoi(arg)
		if err != nil {
			last = c.failf(1, "%s: arguments must be process or job IDs", arg)
			continue
		}
		if pid == os.Getpid() && c.shell.signalled(sig) {
			continue // before the next command
		}
		if err := syscall.Kill(pid, sig); err != nil {
			last = c.failf(1, "(%d) - %v", pid, err)
		}
	}
	return last
}

func (j *job) over() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state == done
}

// listSignals is kill -l: all names, or the name or number of one.
func (c *builtinCall) listSignals(args []string) error {
	if len(args) == 0 {
		for n := syscall.Signal(1); n < 32; n++ {
			c.printf("%2d) %s\n", int(n), unix.SignalName(n))
		}
		return nil
	}
	for _, arg := range args {
		if n, err := strconv.Atoi(arg); err == nil {
			if n > 128 {
				n -= 128
			}
			c.printf("%s\n", strings.TrimPrefix(unix.SignalName(syscall.Signal(n)), "SIG"))
			continue
		}
		sig, err := signalNumber(arg)
		if err != nil {
			return c.failf(1, "%v", err)
		}
		c.printf("%d\n", int(sig))
	}
	return nil
}
