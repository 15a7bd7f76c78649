//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloudssh/cloudssh/internal/shell/tool"
)

// runProgram executes a program of the image and waits for it.
func (s *Shell) runProgram(ctx context.Context, j *job, c *tool.Context) int {
	file, err := lookPath(c.Args[0], c.Dir, c.Env("PATH"))
	if err != nil {
		return s.cannot(c, err)
	}
	return s.runFile(ctx, j, c, file)
}

// runSelf executes this program as one of its tools.
func (s *Shell) runSelf(ctx context.Context, j *job, c *tool.Context) int {
	file, err := os.Executable()
	if err != nil {
		return s.cannot(c, err)
	}
	run := *c
	run.Args = append([]string{s.name, "--" + toolOption}, c.Args...)
	return s.runFile(ctx, j, &run, file)
}

// cannot says why a program is not executed, and returns its status.
func (s *Shell) cannot(c *tool.Context, err error) int {
	fmt.Fprintf(c.Stderr, "%s: %s: %v\n", s.name, c.Args[0], err) //nolint:errcheck // there is nobody left to tell
	var e *programError
	if errors.As(err, &e) {
		return e.status
	}
	return 126
}

// runFile executes a file and waits for it.
func (s *Shell) runFile(ctx context.Context, j *job, c *tool.Context, file string) int {
	var st streams
	err := errors.Join(st.input(c.Stdin), st.output(c.Stdout), st.output(c.Stderr))
	defer st.ended()
	defer st.started()
	if err != nil {
		return s.cannot(c, err)
	}
	if err := j.starts(ctx); err != nil {
		return causeStatus(err)
	}
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Environ, Files: st.files, Sys: s.group(j, &st)}
	saved := s.tty.state()
	p, err := s.execute(file, c.Args, attr)
	if err != nil {
		if attr.Sys.Foreground {
			s.tty.take() // of what could not be executed
		}
		j.failed()
		return s.cannot(c, err)
	}
	st.started()
	return s.waitProgram(ctx, j, p, attr.Sys, saved)
}

// execute starts a file. One that is a script for a shell that the image does
// not have, or for none, is run by this shell.
func (s *Shell) execute(file string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	p, err := startProcess(file, args, attr)
	if errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.ENOENT) && exists(file) {
		interpreter := shebang(file)
		if errors.Is(err, syscall.ENOENT) && !shellNames(interpreter) {
			return nil, &programError{127, badInterpreter(interpreter)}
		}
		if self, serr := os.Executable(); serr == nil && (interpreter != "" || isText(file)) {
			if strings.Contains(args[0], "/") {
				file = args[0] // as the user calls it
			}
			p, err = startProcess(self, append([]string{s.name, file}, args[1:]...), attr)
		}
	}
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return nil, &programError{126, "cannot execute: not a program for this machine"}
	case errors.As(err, &errno):
		return nil, &programError{126, capital(errno.Error())}
	}
	return p, err
}

// startProcess is os.StartProcess of a program that a Ctrl-C does not reach while
// it is for a moment in the shell's process group, if it goes to the background.
func startProcess(file string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	for {
		p, err := os.StartProcess(file, args, attr)
		if err != nil || !attr.Sys.Setpgid || attr.Sys.Foreground || !neverRan(p.Pid) {
			return p, err
		}
		state, err := p.Wait()
		if err != nil {
			return nil, err
		}
		if status, ok := state.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT && status.Signal() != syscall.SIGQUIT {
			return nil, &programError{126, "killed before it could run: " + state.String()}
		}
	}
}

// group is the process group of a program. In the background it is the job's
// own, so that Ctrl-C does not reach it. In the foreground of a terminal it is
// given the terminal, if nothing of this process stands in the same pipe: a
// tool there could not use the terminal.
func (s *Shell) group(j *job, st *streams) *syscall.SysProcAttr {
	if s.tty == nil || !s.tty.control || !s.interactive {
		return &syscall.SysProcAttr{}
	}
	j.mu.Lock()
	back, group := j.back, j.group
	j.mu.Unlock()
	if back {
		return &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	}
	if s.isTerminal(st.files[0]) && s.isTerminal(st.files[1]) {
		return &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: s.tty.fd}
	}
	return &syscall.SysProcAttr{}
}

// killDelay is how long a program that is given up has to end by itself.
const killDelay = 2 * time.Second

// waitProgram waits for the end of a program, and notes when it stops. The
// terminal's mode from before the program is saved.
func (s *Shell) waitProgram(ctx context.Context, j *job, p *os.Process, sys *syscall.SysProcAttr, saved *unix.Termios) int {
	pid := p.Pid
	p.Release()                           //nolint:errcheck // it only forgets the process
	ours := !sys.Setpgid || neverRan(pid) // we got the Ctrl-C of which it has died, too
	j.began(pid, sys.Setpgid)
	defer j.ended(pid)
	ended := make(chan struct{})
	defer close(ended)
	back := j.inBackground()
	stop := context.AfterFunc(ctx, func() { giveUp(ctx, pid, back, ended) })
	defer stop()
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 127
		case status.Stopped():
			s.programStopped(j, pid, sys, saved)
			continue
		}
		j.mu.Lock()
		owned := !j.back && (sys.Foreground || j.group == pid)
		j.mu.Unlock()
		if owned && s.interactive {
			s.tty.take()
		}
		if !status.Signaled() {
			return status.ExitStatus()
		}
		if owned {
			s.tty.restore(saved) // it may have died with the terminal in raw mode
		}
		if status.Signal() == syscall.SIGINT && ours && s.interactive {
			j.awaitInterrupt()
		}
		return s.programDied(j, status.Signal(), status.CoreDump())
	}
}

// hearDelay is how late the shell may notice a signal. So long it waits for one
// that it got together with a program, in case that it got none.
const hearDelay = 2 * time.Second

// awaitInterrupt waits for the Ctrl-C that a program in the shell's own process
// group has died of: if the shell noticed it after the next prompt, it would
// interrupt the next command.
func (j *job) awaitInterrupt() {
	limit := time.NewTimer(hearDelay)
	defer limit.Stop()
	select {
	case <-j.heard:
	case <-j.ctx.Done():
	case <-limit.C:
	}
}

// giveUp ends a program of which the context has ended. Ctrl-C and kill have
// sent their signals already; a program may live on after them. But Ctrl-C did
// not reach the background.
func giveUp(ctx context.Context, pid int, back bool, ended <-chan struct{}) {
	var s signalled
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &s):
		return
	case errors.Is(cause, errInterrupted):
		if back {
			syscall.Kill(pid, syscall.SIGINT) //nolint:errcheck // it may be gone
		}
		return
	}
	syscall.Kill(pid, syscall.SIGTERM) //nolint:errcheck // it may be gone
	kill := time.NewTimer(killDelay)
	defer kill.Stop()
	select {
	case <-ended:
	case <-kill.C:
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may be gone
	}
}

// programStopped is Ctrl-Z, or a background program that wants the terminal.
func (s *Shell) programStopped(j *job, pid int, sys *syscall.SysProcAttr, saved *unix.Termios) {
	if !s.interactive {
		return
	}
	if !j.inBackground() {
		j.mu.Lock()
		if sys.Foreground {
			j.group = pid
		}
		j.mu.Unlock()
		s.tty.take()
		s.tty.restore(saved)
	}
	j.halt(pid)
}

// programDied is the status of a program that a signal killed. Ctrl-C ends the
// whole line, as it would if the shell had got it too.
func (s *Shell) programDied(j *job, sig syscall.Signal, dumped bool) int {
	if s.interactive && !j.inBackground() {
		switch sig {
		case syscall.SIGINT:
			j.mu.Lock()
			j.end(errInterrupted)
			j.mu.Unlock()
		case syscall.SIGPIPE:
		default:
			text := signalText(sig)
			if dumped {
				text += " (core dumped)"
			}
			fmt.Fprintln(s.Stderr, text) //nolint:errcheck // there is nobody left to tell
		}
	}
	return 128 + int(sig)
}
