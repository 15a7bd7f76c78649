//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// live runs what the shell was started for, and returns its exit status.
func (s *Shell) live(ctx context.Context) int {
	switch {
	case s.interactive:
		return s.interact(ctx)
	case s.command != nil:
		return s.batch(ctx, strings.NewReader(*s.command), s.name)
	case s.script != "":
		f, status := s.openScript()
		if f == nil {
			return status
		}
		defer f.Close() //nolint:errcheck // it was only read
		return s.batch(ctx, f, s.script)
	}
	return s.batch(ctx, &lineReader{source: byteReader{r: s.stdin(ctx)}}, s.name)
}

// stdin is the shell's own input, from which it takes its commands.
func (s *Shell) stdin(ctx context.Context) io.Reader {
	if regular(s.Stdin) {
		return s.Stdin
	}
	return &input{file: s.Stdin, ctx: ctx, job: newJob(ctx, "")}
}

// A lineReader reads no further than the end of a line, because what follows
// may be for the commands of the line.
type lineReader struct {
	source byteReader
	line   []byte
}

func (l *lineReader) Read(p []byte) (int, error) {
	if len(l.line) == 0 {
		for {
			b, err := l.source.next()
			if err != nil && len(l.line) == 0 {
				return 0, io.EOF
			}
			if err != nil {
				break
			}
			if l.line = append(l.line, b); b == '\n' {
				break
			}
		}
		l.source.unread()
		l.source.rest = nil
	}
	n := copy(p, l.line)
	l.line = l.line[n:]
	return n, nil
}

// openScript opens the script that the shell was given.
func (s *Shell) openScript() (*os.File, int) {
	f, err := os.Open(s.script)
	if errors.Is(err, os.ErrNotExist) {
		return nil, s.complain(127, "%s: No such file or directory", s.script)
	}
	if err != nil {
		return nil, s.complain(126, "%s: %v", s.script, errors.Unwrap(err))
	}
	if isDir(s.script) {
		f.Close() //nolint:errcheck // it was only read
		return nil, s.complain(126, "%s: Is a directory", s.script)
	}
	if !isText(s.script) {
		f.Close() //nolint:errcheck // it was only read
		return nil, s.complain(126, "%s: cannot execute binary file", s.script)
	}
	return f, 0
}

// batch runs a script as it is read, and then the EXIT trap.
func (s *Shell) batch(ctx context.Context, script io.Reader, name string) int {
	s.tty = openTerminal(s.Stdin, s.Stderr)
	j := newJob(ctx, name)
	defer j.stop(nil)
	s.foreground = j
	stop := s.signals(func(sig os.Signal) { s.passOn(j, sig) })
	defer stop()
	run := context.WithValue(j.ctx, jobKey{}, j)
	status := 0
	if s.login {
		status = s.profiles(run)
	}
	if !s.runner.Exited() {
		status = s.runScript(run, script, name)
	}
	if cause := context.Cause(j.ctx); cause != nil {
		status = causeStatus(cause)
	}
	s.atExit(ctx)
	s.drain(ctx)
	return status
}

// runScript runs statement by statement. A mistake of syntax ends it when it is
// reached.
func (s *Shell) runScript(ctx context.Context, script io.Reader, name string) int {
	status := 0
	parser := syntax.NewParser()
	for stmt, err := range parser.StmtsSeq(script) {
		if err != nil {
			fmt.Fprintf(s.Stderr, "%s: %v\n", name, err) //nolint:errcheck // there is nobody left to tell
			return 2
		}
		var over bool
		if status, over = s.runStmts(ctx, s.runner, []*syntax.Stmt{stmt}); over {
			return status
		}
	}
	return status
}

// runStmts runs statements, and says whether the shell is to exit.
func (s *Shell) runStmts(ctx context.Context, runner *interp.Runner, stmts []*syntax.Stmt) (status int, over bool) {
	for _, stmt := range rewrite(stmts) {
		err := runner.Run(ctx, stmt)
		var exit interp.ExitStatus
		switch {
		case err == nil:
			status = 0
		case errors.As(err, &exit):
			status = int(exit)
		case givenUp(err):
			return causeStatus(err), true
		case context.Cause(ctx) != nil:
			return causeStatus(context.Cause(ctx)), true
		default:
			fmt.Fprintf(s.Stderr, "%s: %v\n", s.name, err) //nolint:errcheck // there is nobody left to tell
			status = 1
		}
		if runner.Exited() {
			return status, true
		}
	}
	return status, false
}

// atExit runs the EXIT trap, unless exit has done so. The interpreter has it
// done at the end of a file.
func (s *Shell) atExit(ctx context.Context) {
	if s.trapPending() {
		s.runner.Run(ctx, call(internalPrefix+"trapped", lit(":"))) //nolint:errcheck // the shell's status is known by now
	}
	if s.runner.Exited() && context.Cause(s.foreground.ctx) == nil {
		return
	}
	j := newJob(ctx, "exit")
	defer j.stop(nil)
	s.runner.Run(context.WithValue(j.ctx, jobKey{}, j), &syntax.File{}) //nolint:errcheck // the shell's status is known by now
}

// drain waits for background commands that live in this process: they would
// end with it. Programs go on alone.
func (s *Shell) drain(ctx context.Context) {
	for _, j := range s.jobs.all() {
		for !j.alone() {
			j.mu.Lock()
			changed := j.changed
			j.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// alone says whether nothing of a job is in this process any more, as far as
// can be told: it is over, or waits for a program.
func (j *job) alone() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state == done || j.disowned || len(j.programs) > 0
}

// signals handles the signals that a shell must not die of at once.
func (s *Shell) signals(handle func(os.Signal)) (stop func()) {
	all := []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM,
	}
	if s.interactive {
		all = append(all, syscall.SIGTSTP, syscall.SIGTTIN)
	}
	s.handles = func(sig os.Signal) bool {
		known := slices.Contains(all, sig)
		if known {
			handle(sig)
		}
		return known
	}
	signals := make(chan os.Signal, 8)
	over := make(chan struct{})
	signal.Notify(signals, all...)
	go func() {
		for {
			select {
			case sig := <-signals:
				handle(sig)
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(over)
	}
}

// signalled does what a signal to this process does, if the shell handles it.
func (s *Shell) signalled(sig syscall.Signal) bool { return s.handles != nil && s.handles(sig) }

// passOn ends a script by a signal, as that would end any process: with what
// it runs. A trap instead only ends what runs just now.
func (s *Shell) passOn(j *job, sig os.Signal) {
	number, ok := sig.(syscall.Signal)
	if !ok || s.trapFor(sig) {
		return
	}
	if number == syscall.SIGINT && s.tty != nil {
		j.stop(errInterrupted) // the kernel has sent it to all
		return
	}
	j.kill(number)
}

// profiles reads what a login shell reads.
func (s *Shell) profiles(ctx context.Context) int {
	if s.noProfile {
		return 0
	}
	status := s.source(ctx, "/etc/profile")
	if !s.runner.Exited() {
		status = s.source(ctx, filepath.Join(s.variable("HOME"), ".profile"))
	}
	return status
}

// source runs a file in the shell, if it is there.
func (s *Shell) source(ctx context.Context, path string) int {
	f, err := os.Open(path)
	if err != nil || !regular(f) {
		return 0
	}
	defer f.Close() //nolint:errcheck // it was only read
	return s.runScript(ctx, f, path)
}

// variable is a variable of the shell.
func (s *Shell) variable(name string) string {
	if vr, ok := s.runner.Vars[name]; ok {
		return vr.String()
	}
	return s.env.Get(name).String()
}
