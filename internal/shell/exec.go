//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"

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
		if hc.Env.Get(jobVariable).String() == "" {
			return nil, context.Cause(j.ctx) // the line is given up
		}
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
	switch t, ok := s.tools[c.Args[0]]; {
	case ok && tool.OwnProcess(t.Name):
		return s.runSelf(ctx, j, c)
	case ok:
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
	var broken atomic.Bool
	file, isFile := c.Stdin.(*os.File)
	switch {
	case c.Stdin == nil:
		run.Stdin = closed{}
	case tool.OwnProcess(t.Name): // its streams are the process's, and its children's
	case isFile:
		run.Stdin = s.reader(ctx, file, j)
	}
	if !tool.OwnProcess(t.Name) {
		run.Stdout = s.writer(ctx, c.Stdout, j, func() { broken.Store(true); cancel() })
		run.Stderr = s.writer(ctx, c.Stderr, j, cancel)
	}
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
