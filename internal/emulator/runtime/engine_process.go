package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// engineProcess is the first process of an engine's container.
type engineProcess struct {
	engine *engine
	id     string
	done   chan struct{}
	exit   Exit // valid after done
}

// startEngineProcess attaches to the container and to its end before it starts, so that neither
// output nor end is missed.
func startEngineProcess(ctx context.Context, e *engine, id string, c Container) (*engineProcess, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	attached, err := e.client.ContainerAttach(life, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		cancel()
		// Podman prepares the container before it lets us attach, and says why it could not
		// only to the one who starts it.
		if reason := e.client.ContainerStart(ctx, id, container.StartOptions{}); reason != nil {
			return nil, reason
		}
		return nil, err
	}
	ended, failed := e.client.ContainerWait(life, id, container.WaitConditionNextExit)
	if err := e.client.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		attached.Close()
		cancel()
		return nil, err
	}
	p := &engineProcess{engine: e, id: id, done: make(chan struct{})}
	output, quiet := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(quiet)
		output <- copyOutput(attached, c)
	}()
	go func() {
		defer close(p.done)
		defer cancel()
		defer attached.Close()
		p.exit = p.await(life, ended, failed, quiet)
		if err := <-output; err != nil {
			p.exit.Err = errors.Join(p.exit.Err, fmt.Errorf("passing on the output of container %s: %w", id, err))
		}
	}()
	return p, nil
}

func copyOutput(from types.HijackedResponse, c Container) error {
	stdout, stderr := c.Stdout, c.Stderr
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	_, err := stdcopy.StdCopy(stdout, stderr, from.Reader)
	if err != nil {
		_, _ = io.Copy(io.Discard, from.Reader) // a writer that fails must not block the container
	}
	return err
}

// await waits for the end. The API does not tell a signal from an exit with the status that a
// shell would give it: what could be a signal is taken for one.
func (p *engineProcess) await(ctx context.Context, ended <-chan container.WaitResponse, failed <-chan error, quiet <-chan struct{}) Exit {
	r, err := p.waitEnd(ctx, ended, failed, quiet)
	if err != nil {
		return Exit{Code: 255, Err: fmt.Errorf("waiting for container %s: %w", p.id, err)}
	}
	exit := Exit{Code: int(r.StatusCode)}
	if r.Error != nil {
		exit.Err = errors.New(r.Error.Message)
	}
	if sig := syscall.Signal(exit.Code - 128); sig > 0 && sig < 32 {
		exit.Signal = signalName(sig)
	}
	if exit.Success() {
		return exit
	}
	info, err := p.engine.client.ContainerInspect(ctx, p.id)
	if err == nil && info.ContainerJSONBase != nil && info.State != nil {
		exit.OOM = info.State.OOMKilled
	}
	return exit // a container that is removed already was not killed for its memory
}

// waitEnd asks a second time when there is no more output. Podman says that it waits for the next end a moment before it
// does, and would never tell of a container that ended meanwhile. The second answer does not count when the
// container is removed already, the first has seen its end then.
func (p *engineProcess) waitEnd(
	ctx context.Context, ended <-chan container.WaitResponse, failed <-chan error, quiet <-chan struct{},
) (container.WaitResponse, error) {
	var stopped <-chan container.WaitResponse
	for {
		select {
		case r := <-ended:
			return r, nil
		case r := <-stopped:
			if r.Error == nil {
				return r, nil
			}
			stopped = nil
		case <-quiet:
			quiet = nil
			stopped, _ = p.engine.client.ContainerWait(ctx, p.id, container.WaitConditionNotRunning)
		case err := <-failed:
			return container.WaitResponse{}, err
		}
	}
}

func (p *engineProcess) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *engineProcess) Done() <-chan struct{} { return p.done }

func (p *engineProcess) Exit() Exit { return p.exit }

func (p *engineProcess) Signal(ctx context.Context, sig syscall.Signal) error {
	err := p.engine.client.ContainerKill(ctx, p.id, signalName(sig))
	if err == nil || p.ended() || isNotFound(err) || strings.Contains(err.Error(), "not running") {
		return nil
	}
	return fmt.Errorf("sending %s to container %s: %w", signalName(sig), p.id, err)
}

// startFailure tells a container that cannot start from an engine that does not work. All the
// API gives for it is text.
func startFailure(name string, err error) error {
	text := strings.ToLower(err.Error())
	contains := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	e := &toolError{kind: Docker, message: err.Error()}
	switch {
	case contains("executable file", "no such file or directory"):
		e.err = fs.ErrNotExist
	case contains("permission denied"):
		e.err = fs.ErrPermission
	case contains("unable to find user", "unable to find group", "no matching entries"):
	default:
		return fmt.Errorf("starting container %s: %w", name, err)
	}
	return &StartError{name, e}
}
