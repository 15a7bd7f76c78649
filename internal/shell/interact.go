//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/cloudssh/cloudssh/internal/shell/line"
)

// A prompter is a shell at work with a person.
type prompter struct {
	*Shell
	ctx    context.Context
	status int
	hangUp chan struct{} // closed when the person has gone
	once   sync.Once

	warned bool // of stopped jobs

	// keys is held while Ctrl-C is handled: it is for one line, the one that is
	// typed or the one that runs.
	keys sync.Mutex
	wake context.CancelCauseFunc // ends the editor's read, nil: there is none
	cut  bool                    // the line was interrupted
}

// interact is an interactive shell.
func (s *Shell) interact(ctx context.Context) int {
	if isTerminal(s.Stdin) {
		s.tty = newTerminal(s.Stdin)
	}
	tryKernel()
	p := &prompter{Shell: s, ctx: ctx, hangUp: make(chan struct{})}
	j := newJob(p.ctx, p.name)
	p.setForeground(j)
	stop := s.signals(p.signal)
	defer stop()
	s.history = openHistory(s.historyFile())
	p.start(j)
	for !s.runner.Exited() && !p.gone() {
		s.report()
		text, err := p.read()
		switch {
		case errors.Is(err, line.ErrInterrupted):
			p.status = 128 + int(syscall.SIGINT)
			p.setStatus()
			continue
		case err != nil:
			if !p.gone() && p.holdsBack() {
				continue
			}
			return p.leave()
		}
		p.line(text)
	}
	return p.leave()
}

// tryKernel has package os find out what the kernel knows of processes. Else it
// does so when the first program is started, by a child that shares our memory and
// handlers: a Ctrl-C of then would come twice.
func tryKernel() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		self.Release() //nolint:errcheck // it was only looked for
	}
}

// start reads the files that belong to an interactive shell.
func (p *prompter) start(j *job) {
	defer j.finish(0)
	ctx := context.WithValue(j.ctx, jobKey{}, j)
	if p.login {
		p.status = p.profiles(ctx)
	}
	if p.runner.Exited() || p.noRC {
		return
	}
	rc := p.env.Get("ENV").String()
	if rc == "" {
		rc = filepath.Join(p.env.Get("HOME").String(), ".cloudssh_shrc")
	}
	p.status = p.source(ctx, rc)
}

// gone says whether the terminal was hung up.
func (p *prompter) gone() bool {
	select {
	case <-p.hangUp:
		return true
	default:
		return false
	}
}

func (p *prompter) hungUp() { p.once.Do(func() { close(p.hangUp) }) }

// signal handles a signal to the shell. Those of the terminal's keys are for
// what runs in the foreground.
func (p *prompter) signal(sig os.Signal) {
	p.keys.Lock()
	defer p.keys.Unlock()
	if sig == syscall.SIGINT {
		defer p.current().hear()
	}
	if p.trapFor(sig) {
		return
	}
	switch sig {
	case syscall.SIGINT:
		p.cut = true
		if j := p.current(); j.over() {
			p.wakeUp(line.ErrInterrupted)
		} else {
			j.interrupt()
		}
	case syscall.SIGTSTP:
		p.current().suspend()
	case syscall.SIGHUP:
		p.hungUp()
		p.current().kill(syscall.SIGHUP)
		p.wakeUp(io.EOF)
	}
}

// edits is the beginning of the editor's read, and what ends it. From here on,
// Ctrl-C is for that line, also when it was just entered; what came before was for
// the one before.
func (p *prompter) edits(cancel context.CancelCauseFunc) {
	p.keys.Lock()
	defer p.keys.Unlock()
	p.wake, p.cut = cancel, false
}

func (p *prompter) edited() {
	p.keys.Lock()
	defer p.keys.Unlock()
	p.wake = nil
}

func (p *prompter) wakeUp(cause error) {
	if p.wake != nil {
		p.wake(cause)
	}
}

func (s *Shell) current() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.foreground
}

// setForeground says which job the terminal's keys are for.
func (s *Shell) setForeground(j *job) (before *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.foreground = s.foreground, j
	return before
}

// read reads one command, of several lines if it must be.
func (p *prompter) read() (string, error) {
	var text string
	prompt := p.prompt("PS1", defaultPrompt)
	for {
		next, err := p.readLine(prompt)
		if err != nil {
			return "", err
		}
		text += next
		if !unfinished(text) {
			return text, nil
		}
		text += "\n"
		prompt = p.prompt("PS2", "> ")
	}
}

// unfinished says whether a command needs more lines.
func unfinished(text string) bool {
	if odd := len(text) - len(strings.TrimRight(text, `\`)); odd%2 == 1 {
		return true
	}
	_, err := syntax.NewParser().Parse(strings.NewReader(text+"\n"), "")
	return err != nil && syntax.IsIncomplete(err)
}

// line runs what was entered.
func (p *prompter) line(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	p.history.add(text)
	p.warned = false
	file, err := syntax.NewParser().Parse(strings.NewReader(text+"\n"), "")
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", p.name, err) //nolint:errcheck // a terminal that is gone is noticed when reading
		p.status = 2
		p.setStatus()
		return
	}
	for _, stmt := range file.Stmts {
		if !p.statement(stmt) {
			return
		}
	}
}

// statement runs one statement, and says whether the line goes on. One that is
// stopped, or does not end although it was interrupted twice, keeps the
// interpreter that it has; the shell goes on with a copy from before it.
func (p *prompter) statement(stmt *syntax.Stmt) bool {
	j := newJob(p.ctx, jobText(stmt))
	p.keys.Lock()
	p.setForeground(j)
	if p.cut {
		j.cut(errInterrupted) // Ctrl-C came between two statements
	}
	p.keys.Unlock()
	runner, after := p.runner, p.runner.Subshell()
	mode := p.tty.state()
	ended := make(chan struct{})
	go func() {
		status := p.guarded(context.WithValue(j.line, jobKey{}, j), runner, []*syntax.Stmt{stmt})
		if cause := context.Cause(j.ctx); cause != nil {
			status = causeStatus(cause)
		}
		close(ended)
		j.finish(status)
	}()
	state, err := j.wait(context.WithoutCancel(p.ctx), true)
	p.tty.take() // whatever it has left: the prompt and the next tools need it
	if err != nil || state == stopped {
		p.runner = after
		p.tty.restore(mode)
		p.leaveStopped(j)
		return false
	}
	select {
	case <-ended:
	default:
		p.runner = after
	}
	p.status = j.status
	if cause := context.Cause(j.ctx); cause != nil {
		p.status = causeStatus(cause)
		p.tty.restore(mode)
		fmt.Fprintln(p.Stderr) //nolint:errcheck // a terminal that is gone is noticed when reading
		p.setStatus()
		return false
	}
	return !p.runner.Exited() && !p.gone()
}

// guarded is runStmts that outlives a mistake.
func (p *prompter) guarded(ctx context.Context, runner *interp.Runner, stmts []*syntax.Stmt) (status int) {
	defer func() {
		if r := recover(); r != nil {
			p.mistake(r)
			status = 2
		}
	}()
	status, _ = p.runStmts(ctx, runner, stmts)
	return status
}

func (p *prompter) leaveStopped(j *job) {
	p.Shell.leave(j)
	p.status = 128 + int(syscall.SIGTSTP)
	p.setStatus()
}

// setStatus makes $? what the interpreter does not know.
func (p *prompter) setStatus() {
	p.runner.Run(p.ctx, call(internalPrefix+"status", lit(itoa(p.status)))) //nolint:errcheck // it is the status
}

// holdsBack warns once of stopped jobs, which would not go on without a shell.
func (p *prompter) holdsBack() bool {
	for _, j := range p.jobs.all() {
		j.mu.Lock()
		is := j.state == stopped
		j.mu.Unlock()
		if is && !p.warned {
			p.warned = true
			fmt.Fprintln(p.Stderr, "There are stopped jobs.") //nolint:errcheck // a terminal that is gone is noticed when reading
			return true
		}
	}
	return false
}

// leave is the end of the shell.
func (p *prompter) leave() int {
	if p.gone() {
		for _, j := range p.jobs.all() {
			j.mu.Lock()
			keep := j.disowned
			j.mu.Unlock()
			if !keep {
				j.kill(syscall.SIGHUP)
			}
		}
	}
	p.atExit(p.ctx)
	if p.gone() {
		return 128 + int(syscall.SIGHUP)
	}
	return p.status
}
