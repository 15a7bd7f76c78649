//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// copySize is one SSH packet's worth.
const copySize = 32 << 10

// The sizes for commands without a terminal, which may move gigabytes. The SSH
// library tells the client after each read of its input how much it may send
// now, in a packet of its own: fewer and longer reads make fewer of them.
const (
	pipeSize   = 1 << 20
	inputPipe  = 256 << 10
	outputPipe = 128 << 10
)

// A process is a session's program: the leader of a session and process group
// of its own, so that signals reach its children too.
type process struct {
	pid    int
	wait   func() (syscall.WaitStatus, error)
	stdin  *os.File // nil with a terminal
	stdout *os.File
	stderr *os.File
}

// signal sends a signal to the process group, which may outlive its leader.
func (p *process) signal(sig syscall.Signal) error { return syscall.Kill(-p.pid, sig) }

// run starts a program and serves it in the background; or says why not.
func (s *session) run(prog program, err error) {
	if err != nil {
		s.fail(err)
		return
	}
	dir, note := s.conn.server.settings.App.dir()
	if note != "" {
		s.say(note)
	}
	if s.lines {
		s.say("this instance has no terminal to give (no /dev/ptmx): what you type goes line by line")
	}
	cmd := &exec.Cmd{Path: prog.path, Args: prog.args, Env: s.environ(), Dir: dir}
	if pty := s.terminal(); pty != nil {
		err = s.startTerminal(cmd, pty)
	} else {
		err = s.startPipes(cmd)
	}
	if err != nil {
		s.fail(explainStart(prog, err))
	}
}

// fail ends a session whose program did not start.
func (s *session) fail(err error) {
	status := 126
	var start *startError
	if errors.As(err, &start) {
		status = start.status
	}
	s.say(err.Error())
	s.exit(exitStatus{status: syscall.WaitStatus(status << 8)})
}

// explainStart gives the kernel's short answers their usual reasons.
func explainStart(prog program, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return &startError{127, fmt.Sprintf("%s: exists, but its interpreter or dynamic loader does not", prog.path)}
	case errors.Is(err, syscall.ENOEXEC):
		return &startError{126, fmt.Sprintf("%s: not a program for this machine, nor a script that names its interpreter", prog.path)}
	case errors.Is(err, syscall.EACCES):
		return &startError{126, fmt.Sprintf("%s: permission denied", prog.path)}
	case errors.Is(err, syscall.E2BIG):
		return &startError{126, fmt.Sprintf("%s: argument list too long", prog.path)}
	}
	return &startError{126, fmt.Sprintf("starting %s: %v", prog.path, err)}
}

// launch starts cmd and makes it the session's process.
func (s *session) launch(cmd *exec.Cmd, p *process) error {
	var err error
	p.pid, p.wait, err = s.conn.server.children.start(cmd)
	if other := s.inPlaceOf(cmd, err); other != nil {
		p.pid, p.wait, err = s.conn.server.children.start(other)
	}
	if err != nil {
		return err
	}
	offerVictim(p.pid)
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	return nil
}

// startPipes runs cmd with three pipes.
func (s *session) startPipes(cmd *exec.Cmd) error {
	p := &process{}
	var theirs [3]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				f.Close() //nolint:errcheck // the child has its own
			}
		}
	}()
	ours := [3]**os.File{&p.stdin, &p.stdout, &p.stderr}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(p.stdin, p.stdout, p.stderr)
			return fmt.Errorf("making a pipe: %w", err)
		}
		widen(r)
		*ours[i], theirs[i] = r, w
		if i == 0 {
			*ours[i], theirs[i] = w, r
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if s.lines { // in the order in which it was written, as on a terminal
		cmd.Stderr = theirs[1]
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	watch := watchOOM()
	if err := s.launch(cmd, p); err != nil {
		closeAll(p.stdin, p.stdout, p.stderr)
		return err
	}
	go s.servePipes(p, watch)
	return nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close() //nolint:errcheck // reading is over, or never began
		}
	}
}

// closedGrace is how long a process may take to end after its output has.
const closedGrace = 50 * time.Millisecond

// servePipes moves bytes until the process has ended and its output is drained.
//
// That is sshd's order too, with one consequence: a background child that
// inherited the pipes keeps the session open, since nothing tells its output
// from the command's. The client can always leave; then the pipes are closed.
// sshd sends the exit status already when the process ends, we only after the
// output: a client may take the status as the end.
func (s *session) servePipes(p *process, watch oomWatch) {
	go s.copyIn(p)
	var output sync.WaitGroup
	output.Go(func() { s.copyOut(s.channel, p.stdout) })
	output.Go(func() { s.copyOut(s.channel.Stderr(), p.stderr) })
	drained, ended := make(chan struct{}), make(chan struct{})
	go func() {
		output.Wait()
		close(drained)
		if !s.waitsForStatus() {
			return
		}
		// A command that closes its output and goes on is seen to do so. One that
		// has ended may be worth another word.
		timer := time.NewTimer(closedGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.closeOutput()
		case <-ended:
		}
	}()
	status := s.await(p)
	close(ended)
	select {
	case <-drained:
	case <-s.hungUp: // only background children have the pipes now
		closeAll(p.stdout, p.stderr)
		<-drained
	}
	p.stdin.Close() //nolint:errcheck // frees the copy above
	if why := watch.explain(status.status); why != "" {
		s.say(why)
	}
	s.exit(status)
}

// copyIn moves input to the command. The channel's EOF is the command's EOF.
// When the command does not read, this waits until the pipe is closed.
func (s *session) copyIn(p *process) {
	defer p.stdin.Close() //nolint:errcheck // pipes do not fail here
	if s.lines {
		s.typeInto(p)
		return
	}
	// Without ReadFrom, which would bring its own buffer.
	in, out := struct{ io.Reader }{s.channel}, struct{ io.Writer }{p.stdin}
	io.CopyBuffer(out, in, make([]byte, inputPipe)) //nolint:errcheck // either end may go away
}

// waitsForStatus tells whether the client keeps a channel open until it has the
// exit status, as RFC 4254 lets it choose. Others close it when both sides have
// sent all, and SSH's library answers that in our stead: no status would reach
// them. They see the end of the output late.
func (s *session) waitsForStatus() bool {
	client := string(s.conn.ClientVersion())
	return strings.HasPrefix(client, "SSH-2.0-cloudssh") || strings.HasPrefix(client, "SSH-2.0-Go")
}

// copyOut moves output to the client. When the client is gone it goes on to
// read: the command gets a SIGHUP then, and a SIGPIPE for the first word it
// says would kill it in the midst of its clean-up.
func (s *session) copyOut(to io.Writer, from *os.File) {
	defer from.Close() //nolint:errcheck // pipes do not fail here
	if s.lines {
		to = lineWriter{to}
	}
	buf := make([]byte, outputPipe)
	for gone := false; ; {
		n, err := from.Read(buf)
		if n > 0 && !gone {
			_, err := s.write(to, buf[:n])
			gone = err != nil
		}
		if err != nil {
			return
		}
	}
}

// await returns when the process has ended.
func (s *session) await(p *process) exitStatus {
	status, err := p.wait()
	if err != nil { // cannot happen: it is our child
		s.conn.log.Error("waiting for the process", "reason", err.Error())
		return exitStatus{status: syscall.WaitStatus(255 << 8)}
	}
	return exitStatus{status: status}
}

// startTerminal runs cmd on a pseudo-terminal.
func (s *session) startTerminal(cmd *exec.Cmd, pty *terminal) error {
	tty := pty.takeTTY()
	if tty == nil {
		return errors.New("the terminal is gone")
	}
	defer tty.Close() //nolint:errcheck // the child has its own
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p := &process{}
	watch := watchOOM()
	if err := s.launch(cmd, p); err != nil {
		return err
	}
	s.conn.server.shells.host(s, p, pty, watch)
	if end := s.conn.server.expires(); !end.IsZero() && time.Until(end) < warnings()[0] {
		s.say(leaseWarning(time.Until(end)))
	}
	return nil
}

// hangup ends a program whose client is gone: SIGHUP, and SIGKILL when the
// grace is over. It returns when the program has ended.
func (s *session) hangup() {
	p := s.running()
	if p == nil { // it is over, or SFTP, which ends with the channel
		<-s.ended
		return
	}
	// A stopped process could not see the SIGHUP. Errors mean that it is gone.
	p.signal(syscall.SIGHUP)  //nolint:errcheck // see above
	p.signal(syscall.SIGCONT) //nolint:errcheck // see above
	timer := time.NewTimer(s.conn.server.hangup)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
		s.kill()
		<-s.ended
	}
}

// terminate tells the program that the instance goes away. A login shell
// ignores SIGTERM and heeds SIGHUP, a daemon the other way round. The client
// will be told the reason instead of what the program makes of it.
func (s *session) terminate(reason string) {
	s.mu.Lock()
	s.stopped = reason
	s.mu.Unlock()
	p := s.running()
	if p == nil {
		return
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGCONT} {
		p.signal(sig) //nolint:errcheck // it may be gone
	}
}

func (s *session) kill() {
	if p := s.running(); p != nil {
		p.signal(syscall.SIGKILL) //nolint:errcheck // it may be gone
	}
}
