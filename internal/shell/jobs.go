//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A state is where a job is in its life.
type state int

const (
	running state = iota
	stopped
	done
)

// errInterrupted is why a context ended: the user's Ctrl-C.
var errInterrupted = errors.New("interrupted")

// errStopped is why a read ended of which the job was stopped.
var errStopped = errors.New("stopped")

// A signalled is why a context ended: a signal, as of kill.
type signalled struct{ signal syscall.Signal }

func (s signalled) Error() string { return "killed by " + s.signal.String() }

// A job is a command line of the foreground, or what stands before an &. Its
// tools run in this process, so it is stopped and killed by stopping their
// input and output and by ending their context; its programs get signals.
type job struct {
	id   int
	text string
	ctx  context.Context
	stop context.CancelCauseFunc

	// line is the interpreter's context, which a line and all that stands before
	// an & in it have in common; cut ends it.
	line context.Context
	cut  context.CancelCauseFunc

	mu       sync.Mutex
	state    state
	status   int
	changed  chan struct{} // closed and replaced when state changes
	period   context.Context
	pause    context.CancelFunc // ends period: the job stops
	back     bool               // it is in the background
	group    int                // process group of its programs, 0: the shell's own
	programs []int
	halted   []int     // those of them that have stopped
	starting int       // how many more are being started
	pausing  bool      // those are to stop at once
	latest   time.Time // when the last of programs began
	told     state     // what the user has been told
	disowned bool
	spawned  []*job // what this line has started with &

	interrupts int
	heard      chan struct{} // closed when the shell knows of a Ctrl-C
	hear       func()        // closes it
}

func newJob(ctx context.Context, text string) *job {
	j := &job{text: text, changed: make(chan struct{}), heard: make(chan struct{})}
	j.hear = sync.OnceFunc(func() { close(j.heard) })
	j.line, j.cut = context.WithCancelCause(ctx)
	j.ctx, j.stop = context.WithCancelCause(j.line)
	j.period, j.pause = context.WithCancel(j.ctx)
	return j
}

func (j *job) inBackground() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.back
}

// running waits until the job is not stopped. It fails when ctx has ended.
func (j *job) running(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		j.mu.Lock()
		state, changed := j.state, j.changed
		j.mu.Unlock()
		if state != stopped {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// set changes the state and tells who waits for that.
func (j *job) set(s state) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == s || j.state == done {
		return
	}
	j.state = s
	if j.pause(); s == running {
		j.period, j.pause = context.WithCancel(j.ctx)
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

// untilStopped is ctx, which also ends when the job stops.
func (j *job) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	j.mu.Lock()
	period := j.period
	j.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(period, func() { cancel(errStopped) })
	return ctx, func() { stop(); cancel(nil) }
}

// finish is the end of the job.
func (j *job) finish(status int) {
	j.mu.Lock()
	if j.state != done {
		j.status = status
	}
	j.mu.Unlock()
	j.set(done)
}

// wait waits until the job is done, or also until it has stopped.
func (j *job) wait(ctx context.Context, orStopped bool) (state, error) {
	for {
		j.mu.Lock()
		state, changed := j.state, j.changed
		j.mu.Unlock()
		if state == done || orStopped && state == stopped {
			return state, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state, context.Cause(ctx)
		}
	}
}

// interrupt is Ctrl-C. Programs that share the terminal with the shell got
// their signal from the kernel.
//
// What does not end is left alone when it is interrupted again.
func (j *job) interrupt() {
	j.mu.Lock()
	j.interrupts++
	again := j.interrupts > 1 && len(j.programs) == 0 && j.starting == 0
	switch {
	case j.group != 0:
		syscall.Kill(-j.group, syscall.SIGINT) //nolint:errcheck // it may be gone
	case time.Since(j.latest) < hearDelay:
		j.signalLocked(syscall.SIGINT) // the key may have been pressed before they began
	}
	j.end(errInterrupted) // no more programs begin
	j.mu.Unlock()
	if again {
		j.cut(errInterrupted)
		j.finish(128 + int(syscall.SIGINT))
	}
}

// end gives the line up, j.mu being held. While something lives on that the line
// has started with &, the interpreter must come to its end by itself: at the next
// command (see callHandler).
func (j *job) end(cause error) {
	j.stop(cause)
	if !slices.ContainsFunc(j.spawned, func(b *job) bool { return !b.over() }) {
		j.cut(cause)
	}
}

// suspend is Ctrl-Z. A job with programs is stopped when all of them are: one
// that still reads would take what is typed at the prompt. Those in the shell's
// own process group do not stop by themselves, as its parent is in another
// session.
func (j *job) suspend() {
	j.mu.Lock()
	j.pausing = j.starting > 0
	wait := j.pausing || len(j.programs) > len(j.halted)
	for _, pid := range j.programs {
		if j.group == 0 && !slices.Contains(j.halted, pid) {
			syscall.Kill(pid, syscall.SIGSTOP) //nolint:errcheck // it may be gone
		}
	}
	j.mu.Unlock()
	if !wait {
		j.set(stopped)
	}
}

// halt notes that a program has stopped.
func (j *job) halt(pid int) {
	j.mu.Lock()
	if !slices.Contains(j.halted, pid) {
		j.halted = append(j.halted, pid)
	}
	j.mu.Unlock()
	j.suspend()
}

// resume lets a stopped job go on.
func (j *job) resume() {
	j.mu.Lock()
	j.halted, j.pausing = nil, false
	j.mu.Unlock()
	j.set(running)
	j.signal(syscall.SIGCONT)
}

// kill sends a signal to the job's programs, and does to its tools what that
// signal does to processes that do not care.
func (j *job) kill(sig syscall.Signal) {
	switch sig {
	case 0, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGWINCH:
		j.signal(sig)
	case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		j.signal(sig)
		j.suspend()
	case syscall.SIGCONT:
		j.resume()
	default:
		j.mu.Lock()
		j.end(signalled{sig}) // programs that begin later get it then
		j.signalLocked(sig)
		j.mu.Unlock()
		j.resume()
	}
}

// signal sends a signal to the job's programs.
func (j *job) signal(sig syscall.Signal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.signalLocked(sig)
}

func (j *job) signalLocked(sig syscall.Signal) {
	for _, pid := range j.programs {
		syscall.Kill(pid, sig) //nolint:errcheck // it may be gone
	}
}

// starts notes that a program is about to be started, unless the job has ended:
// a shell that has left a job alone must not lose the terminal to it later. A
// job that is stopped starts nothing.
func (j *job) starts(ctx context.Context) error {
	for {
		if err := j.running(ctx); err != nil {
			return err
		}
		j.mu.Lock()
		if j.state != stopped {
			defer j.mu.Unlock()
			if err := context.Cause(j.ctx); err != nil {
				return err
			}
			j.starting++
			return nil
		}
		j.mu.Unlock()
	}
}

// failed is the end of a start that came to nothing.
func (j *job) failed() {
	j.mu.Lock()
	j.starting--
	pausing := j.pausing
	j.mu.Unlock()
	if pausing {
		j.suspend()
	}
}

// began notes the program that was started. A job that has a process group has
// its programs in it. What came while it was started reaches it now: the
// terminal may have sent it to the shell alone.
func (j *job) began(pid int, leads bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.starting--
	j.programs, j.latest = append(j.programs, pid), time.Now()
	if j.pausing {
		syscall.Kill(pid, syscall.SIGSTOP) //nolint:errcheck // it may be gone
	}
	if leads && j.group == 0 {
		j.group = pid
	}
	var s signalled
	switch cause := context.Cause(j.ctx); {
	case errors.As(cause, &s):
		syscall.Kill(pid, s.signal) //nolint:errcheck // it may be gone
	case errors.Is(cause, errInterrupted) && leads:
		syscall.Kill(-j.group, syscall.SIGINT) //nolint:errcheck // with what it has started by now
	case errors.Is(cause, errInterrupted):
		syscall.Kill(pid, syscall.SIGINT) //nolint:errcheck // it may be gone
	}
}

// ended forgets a program; a group without programs is no group.
func (j *job) ended(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	same := func(p int) bool { return p == pid }
	j.programs, j.halted = slices.DeleteFunc(j.programs, same), slices.DeleteFunc(j.halted, same)
	if len(j.programs) == 0 {
		j.group = 0
	}
}

// killed is the exit status that the job's end has for what is left of it.
func (j *job) killed() (status int, yes bool) {
	cause := context.Cause(j.ctx)
	if cause == nil {
		return 0, false
	}
	return causeStatus(cause), true
}

// givenUp says whether an error is why a job was given up.
func givenUp(err error) bool {
	var s signalled
	return errors.Is(err, errInterrupted) || errors.As(err, &s)
}

// causeStatus is the exit status of what was given up for a reason.
func causeStatus(cause error) int {
	var s signalled
	if errors.As(cause, &s) {
		return 128 + int(s.signal)
	}
	return 128 + int(syscall.SIGINT)
}

// describe is a job's line for jobs and the prompt.
func (j *job) describe(mark byte) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	what := "Running"
	switch {
	case j.state == stopped:
		what = "Stopped"
	case j.state == done && j.status == 0:
		what = "Done"
	case j.state == done && j.status > 128:
		what = signalText(syscall.Signal(j.status - 128))
	case j.state == done:
		what = "Exit " + strconv.Itoa(j.status)
	}
	suffix := ""
	if j.state == running && j.back {
		suffix = " &"
	}
	return fmt.Sprintf("[%d]%c  %-23s %s%s", j.id, mark, what, j.text, suffix)
}

func signalText(sig syscall.Signal) string { return capital(sig.String()) }
