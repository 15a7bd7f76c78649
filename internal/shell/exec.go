//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"github.com/cloudssh/cloudssh/internal/shell/tool"
)

// callHandler looks at every simple command before it runs: it ends what has
// nobody to write to or was killed, and has our builtins run in the place of
// the interpreter's.
func (s *Shell) callHandler(ctx context.Context, args []string) ([]string, error) {
	if args[0] == reapCommand {
		return args, nil // it has to
	}
	hc := interp.HandlerCtx(ctx)
	j := s.jobOf(ctx, hc.Env)
	if status, killed := j.killed(); killed {
		return []string{"exit", itoa(status)}, nil
	}
	if prints(args[0]) && readerGone(hc.Stdout) {
		return []string{"exit", itoa(128 + int(syscall.SIGPIPE))}, nil
	}
	if err := j.running(ctx); err != nil {
		return []string{"exit", itoa(causeStatus(err))}, nil
	}
	if len(args) > 1 && (args[0] == "builtin" || args[0] == "command") && s.replaces(args[1:]) {
		args = args[1:]
	}
	if s.replaces(args) {
		args = append([]string{internalPrefix + args[0]}, args[1:]...)
	} else if args[0] == "cd" {
		args = cdArgs(args)
	}
	if s.trapPending() {
		args = append([]string{internalPrefix + "trapped"}, args...)
	}
	return args, nil
}

// prints says whether a builtin of the interpreter writes, and so would be
// killed if nobody read.
func prints(name string) bool { return name == "echo" || name == "printf" || name == "pwd" }

// execHandler runs what is neither a function nor a builtin of the
// interpreter: our builtins, tools, and programs.
func (s *Shell) execHandler(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	j := s.jobOf(ctx, hc.Env)
	line := ctx
	ctx, cancel := j.within(ctx)
	defer cancel()
	if name, ok := strings.CutPrefix(args[0], internalPrefix); ok {
		if b, ok := s.own[name]; ok {
			return b.run(&builtinCall{Context: ctx, line: line, shell: s, hc: hc, job: j, args: append([]string{name}, args[1:]...)})
		}
	}
	stdin, _ := hc.Stdin.(*os.File)
	c := &tool.Context{
		Context: ctx,
		Args:    args, Dir: hc.Dir, Environ: environOf(hc.Env),
		Env:    func(name string) string { return hc.Env.Get(name).String() },
		Stdout: hc.Stdout, Stderr: hc.Stderr,
	}
	if stdin != nil {
		c.Stdin = stdin
	} else {
		c.Stdin = closed{}
	}
	return exitStatus(s.runCommand(ctx, j, c))
}

func exitStatus(status int) error {
	if status == 0 {
		return nil
	}
	return interp.ExitStatus(status)
}

// within is ctx that also ends with the job.
func (j *job) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// runCommand runs a tool or a program.
func (s *Shell) runCommand(ctx context.Context, j *job, c *tool.Context) int {
	if t, ok := s.tools[c.Args[0]]; ok {
		return s.runTool(ctx, j, t, c)
	}
	return s.runProgram(ctx, j, c)
}

// runTool runs a tool with streams that end with its context.
func (s *Shell) runTool(ctx context.Context, j *job, t tool.Tool, c *tool.Context) (status int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stderr := c.Stderr
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(stderr, "%s: a mistake in cloudssh: %v\n%s", t.Name, r, debug.Stack()) //nolint:errcheck // there is nobody left to tell
			status = 2
		}
	}()
	run := *c
	run.Context = ctx
	run.StdinTTY, run.StdoutTTY = s.isTerminal(c.Stdin), s.isTerminal(c.Stdout)
	if file, ok := c.Stdin.(*os.File); ok {
		run.Stdin = s.reader(ctx, file, j)
	} else if c.Stdin == nil {
		run.Stdin = closed{}
	}
	var broken atomic.Bool
	run.Stdout = s.writer(ctx, c.Stdout, j, func() { broken.Store(true); cancel() })
	run.Stderr = s.writer(ctx, c.Stderr, j, cancel)
	run.Terminal = s.tty.forTool(ctx, j)
	run.LookPath = s.lookPathFor(&run)
	run.Start = func(c *tool.Context) int { return s.startFor(j, c) }
	status = t.Run(&run)
	switch cause := context.Cause(ctx); {
	case broken.Load():
		return 128 + int(syscall.SIGPIPE)
	case cause != nil && !errors.Is(cause, context.Canceled):
		return causeStatus(cause)
	}
	return status & 0xff
}

// startFor runs a command for a tool: a tool, a program, or a builtin.
func (s *Shell) startFor(j *job, c *tool.Context) int {
	if c.Context == nil {
		c.Context = j.ctx
	}
	_, isTool := s.tools[c.Args[0]]
	if isTool || !interp.IsBuiltin(c.Args[0]) {
		return s.runCommand(c.Context, j, c)
	}
	return s.runBuiltin(c)
}

// A programError says why something cannot be executed, with POSIX's status.
type programError struct {
	status int
	text   string
}

func (e *programError) Error() string { return e.text }

// lookPath finds a program. It says what is wrong with the one that it finds,
// if it can be nothing else.
func lookPath(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	var refused error
	for _, elem := range filepath.SplitList(path) {
		if !filepath.IsAbs(elem) {
			elem = filepath.Join(dir, elem)
		}
		file := filepath.Join(elem, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		var e *programError
		if errors.As(err, &e) && e.status == 126 && !isDir(file) {
			refused = err
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", &programError{127, "command not found"}
}

func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &programError{127, "No such file or directory"}
	case err != nil:
		return &programError{126, "Permission denied"}
	case info.IsDir():
		return &programError{126, "Is a directory"}
	case unix.Access(file, unix.X_OK) != nil:
		return &programError{126, "Permission denied"}
	}
	return nil
}

func isDir(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.IsDir()
}

// runProgram executes a program of the image and waits for it.
func (s *Shell) runProgram(ctx context.Context, j *job, c *tool.Context) int {
	fail := func(err error) int {
		fmt.Fprintf(c.Stderr, "%s: %s: %v\n", s.name, c.Args[0], err) //nolint:errcheck // there is nobody left to tell
		var e *programError
		if errors.As(err, &e) {
			return e.status
		}
		return 126
	}
	file, err := lookPath(c.Args[0], c.Dir, c.Env("PATH"))
	if err != nil {
		return fail(err)
	}
	var st streams
	err = errors.Join(st.input(c.Stdin), st.output(c.Stdout), st.output(c.Stderr))
	defer st.ended()
	defer st.started()
	if err != nil {
		return fail(err)
	}
	if context.Cause(ctx) != nil {
		return causeStatus(context.Cause(ctx))
	}
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Environ, Files: st.files, Sys: s.group(j, &st)}
	p, err := s.execute(file, c.Args, attr)
	if err != nil {
		return fail(err)
	}
	st.started()
	return s.waitProgram(ctx, j, p, attr.Sys)
}

// execute starts a file. One that is a script for a shell that the image does
// not have, or for none, is run by this shell.
func (s *Shell) execute(file string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	p, err := os.StartProcess(file, args, attr)
	if errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.ENOENT) && exists(file) {
		interpreter := shebang(file)
		if errors.Is(err, syscall.ENOENT) && !shellNames(interpreter) {
			return nil, &programError{127, badInterpreter(interpreter)}
		}
		if self, serr := os.Executable(); serr == nil && (interpreter != "" || isText(file)) {
			if strings.Contains(args[0], "/") {
				file = args[0] // as the user calls it
			}
			p, err = os.StartProcess(self, append([]string{s.name, file}, args[1:]...), attr)
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

func badInterpreter(interpreter string) string {
	if interpreter == "" {
		return "cannot execute: the image lacks the loader that it needs"
	}
	return interpreter + ": bad interpreter: No such file or directory"
}

// shebang is the first line of a script after #!, "" if it has none.
func shebang(file string) string {
	head := head(file)
	line, _, _ := strings.Cut(head, "\n")
	if !strings.HasPrefix(line, "#!") {
		return ""
	}
	return strings.TrimSpace(line[2:])
}

// shellNames says whether an interpreter's line means a shell like this one.
func shellNames(interpreter string) bool {
	fields := strings.Fields(interpreter)
	if len(fields) > 1 && filepath.Base(fields[0]) == "env" {
		fields = fields[1:]
	}
	if len(fields) == 0 {
		return false
	}
	switch filepath.Base(fields[0]) {
	case "sh", "bash", "dash", "ash", "ksh":
		return true
	}
	return false
}

func isText(file string) bool {
	line, _, _ := strings.Cut(head(file), "\n")
	return !strings.Contains(line, "\x00")
}

func head(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, 256)
	n, _ := f.Read(buf) //nolint:errcheck // what cannot be read has no first line
	return string(buf[:n])
}

// group is the process group of a program. In the background it is the job's
// own, so that Ctrl-C does not reach it. In the foreground of a terminal it is
// given the terminal, if nothing of this process stands in the same pipe: a
// tool there could not use the terminal.
func (s *Shell) group(j *job, st *streams) *syscall.SysProcAttr {
	if s.tty == nil || !s.interactive {
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

// waitProgram waits for the end of a program, and notes when it stops.
func (s *Shell) waitProgram(ctx context.Context, j *job, p *os.Process, sys *syscall.SysProcAttr) int {
	pid := p.Pid
	p.Release() //nolint:errcheck // it only forgets the process
	j.began(pid, sys.Setpgid)
	defer j.ended(pid)
	saved := s.tty.state()
	ended := make(chan struct{})
	defer close(ended)
	missed := sys.Setpgid || ctx.Err() != nil
	stop := context.AfterFunc(ctx, func() { giveUp(ctx, pid, missed, ended) })
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
		owned := sys.Foreground || j.group == pid && !j.back
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
		return s.programDied(j, status.Signal(), status.CoreDump())
	}
}

// giveUp ends a program of which the context has ended. Ctrl-C and kill have
// sent their signals already; a program may live on after them. But one that
// was just about to start, or to get the terminal, has missed Ctrl-C.
func giveUp(ctx context.Context, pid int, missed bool, ended <-chan struct{}) {
	var s signalled
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &s):
		return
	case errors.Is(cause, errInterrupted):
		if missed {
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
	if sys.Foreground || !j.inBackground() {
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
			j.stop(errInterrupted)
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

// runBuiltin runs a builtin of the interpreter for a tool, in a shell of its own.
func (s *Shell) runBuiltin(c *tool.Context) int {
	runner, err := interp.New(
		interp.Env(expand.ListEnviron(c.Environ...)), interp.Dir(c.Dir),
		interp.StdIO(c.Stdin, c.Stdout, c.Stderr),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.execHandler }),
	)
	if err != nil {
		return complainOn(c.Stderr, c.Args[0], "%v", err)
	}
	err = runner.Run(c.Context, builtinCallNode(c.Args))
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	return 1
}
