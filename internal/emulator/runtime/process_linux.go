package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// ociProcess is the first process of an OCI container. It is a child of this process, because
// this process is the reaper of its orphans and the runtime that started the container
// has ended: so its true wait status is known.
type ociProcess struct {
	id      string // of the container
	tool    tool
	process *os.Process
	limit   func(cpus float64) error
	done    chan struct{}
	exit    Exit // valid after done
}

func (p *ociProcess) Done() <-chan struct{} { return p.done }

func (p *ociProcess) Exit() Exit { return p.exit }

func (p *ociProcess) Signal(ctx context.Context, sig syscall.Signal) error {
	err := p.process.Signal(syscall.Signal(0))
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return nil
	case p.tool.kind != Runsc || sig == sigkill:
		err = p.process.Signal(sig)
	default: // the process is gVisor's kernel, and the container's are inside of it
		err = p.tool.kill(ctx, p.id, sig)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) && !p.ended() {
		return fmt.Errorf("sending %s to container %s: %w", signalName(sig), p.id, err)
	}
	return nil
}

func (p *ociProcess) LimitCPU(cpus float64) error {
	if err := p.limit(cpus); err != nil {
		return fmt.Errorf("limiting the CPU of container %s: %w", p.id, err)
	}
	return nil
}

// watch waits for the end of the process and of its output. The kernel ends all processes
// of the PID namespace with the first, so that the output does end.
func (p *ociProcess) watch(output *output, oomKilled func() bool) {
	defer close(p.done)
	state, err := p.process.Wait()
	if err != nil {
		p.exit.Err = fmt.Errorf("waiting for container %s: %w", p.id, err)
	} else {
		p.exit = p.exitOf(state)
	}
	p.exit.OOM = !p.exit.Success() && oomKilled()
	if err := output.wait(); err != nil {
		p.exit.Err = errors.Join(p.exit.Err, fmt.Errorf("passing on the output of container %s: %w", p.id, err))
	}
}

func (p *ociProcess) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exitOf reads a wait status. gVisor's process has the container's exit status, and for a signal
// that of a shell.
func (p *ociProcess) exitOf(state *os.ProcessState) Exit {
	if sig := syscall.Signal(state.ExitCode() - 128); p.tool.kind == Runsc && sig > 0 && sig < 32 {
		return killedBy(sig)
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return killedBy(ws.Signal())
	}
	return Exit{Code: state.ExitCode()}
}

// An output is the pipes between a container and the writers of its caller.
type output struct {
	readers, writers [2]*os.File
	copies           sync.WaitGroup
	errs             [2]error
}

func newOutput() (*output, error) {
	o := &output{}
	for i := range o.readers {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(err, o.discard())
		}
		o.readers[i], o.writers[i] = r, w
	}
	return o, nil
}

// start passes on what is written until the container has closed its ends.
func (o *output) start(stdout, stderr io.Writer) error {
	err := o.closeWriters()
	for i, w := range []io.Writer{stdout, stderr} {
		if w == nil {
			w = io.Discard
		}
		o.copies.Go(func() { o.errs[i] = drain(w, o.readers[i]) })
	}
	return err
}

// drain copies all of r. A writer that fails must not block the container, nor end it with SIGPIPE.
func drain(w io.Writer, r *os.File) error {
	_, err := io.Copy(w, r)
	if err != nil {
		_, _ = io.Copy(io.Discard, r)
	}
	return errors.Join(err, r.Close())
}

func (o *output) wait() error {
	o.copies.Wait()
	return errors.Join(o.errs[:]...)
}

func (o *output) closeWriters() error {
	var errs []error
	for _, w := range o.writers {
		if w != nil {
			errs = append(errs, w.Close())
		}
	}
	return errors.Join(errs...)
}

// discard closes both sides of an output that was not started.
func (o *output) discard() error {
	err := o.closeWriters()
	for _, r := range o.readers {
		if r != nil {
			err = errors.Join(err, r.Close())
		}
	}
	return err
}
