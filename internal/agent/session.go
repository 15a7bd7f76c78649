//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A session is one session channel: what the client asks for before the
// program starts, and the program.
//
// One goroutine, serve, handles the channel's requests; only it reads and
// writes the fields without a comment.
type session struct {
	conn    *connection
	channel ssh.Channel
	env     []string // set by the client
	envSize int
	term    string // the TERM of pty-req
	sized   bool   // there was one
	lines   bool   // and no pseudo-terminal could be had
	window  window // its size
	persist time.Duration
	command string
	wish    string   // for a shell, as in shellVariable
	shell   string   // the shell's path where $SHELL has to tell it
	spare   *program // to start where the image's shell turns out to be broken
	agent   string   // the socket that leads to the client's SSH agent
	started bool     // a program was asked for
	begun   time.Time

	ended    chan struct{} // closed when the program and its output are done
	endOnce  sync.Once
	hungUp   chan struct{} // closed when the client is gone
	hangOnce sync.Once

	outMu sync.Mutex // held while writing to the channel's output
	eof   bool       // no more output may be written; guarded by outMu

	mu      sync.Mutex
	pty     *terminal   // nil without pty-req, and once a program has it
	process *process    // nil before it started, and always with a terminal
	at      *attachment // the terminal session it is attached to
	stopped string      // why the instance ended the program; empty: it did not
}

func newSession(c *connection) *session {
	return &session{conn: c, ended: make(chan struct{}), hungUp: make(chan struct{})}
}

// serve handles requests until the channel is gone and returns when the
// program is, too.
func (s *session) serve(requests <-chan *ssh.Request) {
	for req := range requests {
		ok, start := s.request(req.Type, req.Payload)
		if req.WantReply {
			req.Reply(ok, nil) //nolint:errcheck // the loop ends when the channel does
		}
		// After the reply: a program may be over, and its channel closed,
		// before another instruction of ours is executed.
		if start != nil {
			start()
		}
	}
	s.hangOnce.Do(func() { close(s.hungUp) })
	if at := s.attached(); at != nil {
		at.shell.lose(at, s.conn.left)
		s.end()
		return
	}
	if !s.started {
		s.end()
	}
	s.hangup()
	if pty := s.terminal(); pty != nil {
		pty.close()
	}
}

// request handles one request. A start function comes with those that start a
// program.
func (s *session) request(kind string, payload []byte) (ok bool, start func()) {
	if s.conn.caller.guest && !slices.Contains([]string{"pty-req", "window-change", "attach@cloudssh", "detach@cloudssh", "redraw@cloudssh"}, kind) {
		return false, nil
	}
	switch kind {
	case "env":
		return s.setEnv(payload), nil
	case "pty-req":
		return s.allocate(payload), nil
	case "window-change":
		return s.resize(payload), nil
	case "signal":
		return s.signal(payload), nil
	case "break":
		pty := s.terminal()
		if at := s.attached(); at != nil && at.types {
			pty = at.shell.pty
		}
		return pty != nil && pty.sendBreak() == nil, nil
	case "eow@openssh.com":
		return s.stopOutput(), nil
	case "auth-agent-req@openssh.com":
		return s.forwardAgent(), nil
	case "shell", "exec", "exec-argv@cloudssh", "subsystem":
		return s.begin(kind, payload)
	case "attach@cloudssh":
		if s.started {
			return false, nil
		}
		s.begun = time.Now()
		s.started, start = s.conn.server.shells.attach(s, payload)
		return s.started, start
	case "persist@cloudssh":
		var req struct{ Grace uint32 }
		ok := ssh.Unmarshal(payload, &req) == nil && !s.started && s.sized
		s.persist = time.Duration(req.Grace) * time.Second
		return ok, nil
	}
	return s.control(kind, payload)
}

func (s *session) setEnv(payload []byte) bool {
	var req struct{ Name, Value string }
	if ssh.Unmarshal(payload, &req) != nil || s.started {
		return false
	}
	if req.Name == shellVariable && len(req.Value) < 4096 && !strings.ContainsRune(req.Value, 0) {
		s.wish = req.Value // one that cannot be fulfilled is told in words, at the start
		return true
	}
	if !envAllowed(req.Name, req.Value) {
		return false
	}
	s.envSize += len(req.Name) + len(req.Value)
	if len(s.env) >= maxClientEnv || s.envSize > maxClientEnvSize {
		return false
	}
	s.env = append(s.env, req.Name+"="+req.Value)
	return true
}

// forwardAgent gives the program a way to the client's SSH agent.
func (s *session) forwardAgent() bool {
	if s.started {
		return false
	}
	socket, ok := s.conn.forwardAgent()
	if ok {
		s.agent = socket
	}
	return ok
}

func (s *session) signal(payload []byte) bool {
	var req struct{ Name string }
	if ssh.Unmarshal(payload, &req) != nil {
		return false
	}
	sig, ok := signalNumber(req.Name)
	p := s.running()
	return ok && p != nil && p.signal(sig) == nil
}

// stopOutput is OpenSSH's word that the client's stdout is closed: the program
// gets a SIGPIPE when it writes on, so that `cloudssh x --exec yes | head` ends.
func (s *session) stopOutput() bool {
	p := s.running()
	if p == nil || p.stdout == nil {
		return false
	}
	p.stdout.Close() //nolint:errcheck // it only makes writes fail
	return true
}

// running is the process, or nil if there is none or the session is over: then
// its process id may be another's.
func (s *session) running() *process {
	select {
	case <-s.ended:
		return nil
	default:
	}
	if at := s.attached(); at != nil {
		return at.process()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

func (s *session) interactive() bool { return s.terminal() != nil || s.attached() != nil }

// say writes a line of ours to the user: among the output on a terminal, which
// the program may have in raw mode, else to stderr.
func (s *session) say(text string) {
	if at := s.attached(); at != nil {
		at.say(text)
		return
	}
	if s.interactive() || s.lines {
		s.write(s.channel, []byte("\r\ncloudssh: "+text+"\r\n")) //nolint:errcheck // nobody else to tell
		return
	}
	s.write(s.channel.Stderr(), []byte("cloudssh: "+text+"\n")) //nolint:errcheck // as above
}

// write serializes what goes to the client: x/crypto/ssh allows one writer per
// stream, and none that races with the end of the output.
func (s *session) write(w io.Writer, p []byte) (int, error) {
	s.outMu.Lock()
	defer s.outMu.Unlock()
	if s.eof {
		return 0, io.ErrClosedPipe
	}
	return w.Write(p)
}

// closeOutput tells the client that no more output comes.
func (s *session) closeOutput() {
	s.outMu.Lock()
	defer s.outMu.Unlock()
	if !s.eof {
		s.eof = true
		s.channel.CloseWrite() //nolint:errcheck // fails only with the channel
	}
}

// end closes the channel, once.
func (s *session) end() {
	s.endOnce.Do(func() {
		s.closeOutput()
		s.channel.Close() //nolint:errcheck // fails only when closed by the client
		close(s.ended)
	})
}

// exit sends how the program ended, after all of its output, and closes. When
// we have ended it with the instance, its status is what it made of that: our
// own client is told so first, others know only the status.
//
// The end of the output comes last: a client that has nothing more to send
// closes the channel then, and on a closed one no status can be sent.
func (s *session) exit(status exitStatus) {
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped != "" {
		s.channel.SendRequest("stopped@cloudssh", false, ssh.Marshal(struct{ Reason string }{stopped})) //nolint:errcheck // as below
	}
	s.channel.SendRequest(status.request(), false, status.payload()) //nolint:errcheck // the client may be gone
	s.closeOutput()
	s.conn.log.Info("session ended", "status", status.String(), "seconds", int(time.Since(s.begun).Seconds()))
	s.end()
}

// begin accepts or refuses the request for a program. Once accepted, what goes
// wrong is told on stderr and by the exit status, as a shell would.
func (s *session) begin(kind string, payload []byte) (bool, func()) {
	if s.started {
		return false, nil
	}
	var run func()
	switch kind {
	case "shell":
		run = func() { s.run(s.shellProgram()) }
	case "exec":
		var req struct{ Command string }
		if ssh.Unmarshal(payload, &req) != nil {
			return false, nil
		}
		s.command = req.Command
		run = func() { s.runLine(req.Command) }
	case "exec-argv@cloudssh":
		argv, err := parseArgv(payload)
		if err != nil {
			return false, nil
		}
		s.command = strings.Join(argv, " ")
		run = func() { s.runArgs(argv) }
	case "subsystem":
		var req struct{ Name string }
		if ssh.Unmarshal(payload, &req) != nil || req.Name != "sftp" {
			return false, nil
		}
		kind, run = "sftp", func() { go s.serveSFTP() }
	}
	s.started = true
	return true, func() {
		s.begun = time.Now()
		// No command line: it may hold secrets.
		s.conn.log.Info("session started", "kind", kind, "terminal", s.interactive())
		run()
	}
}

// environ is the program's environment.
func (s *session) environ() []string {
	env := s.conn.server.env
	for _, kv := range s.env {
		name, value, _ := strings.Cut(kv, "=")
		env = setenv(env, name, value)
	}
	if s.term != "" {
		env = setenv(env, "TERM", s.term)
	}
	if s.agent != "" {
		env = setenv(env, "SSH_AUTH_SOCK", s.agent)
	}
	if s.shell != "" {
		env = setenv(env, "SHELL", s.shell)
	}
	return env
}

// argvProgram is a program of the image or, in one that has not even a shell, a
// tool of the shell that we bring.
func (s *session) argvProgram(argv []string) (program, error) {
	dir, _ := s.conn.server.settings.App.dir()
	path, err := lookPath(argv[0], s.environ(), dir)
	var missing *startError
	if errors.As(err, &missing) && missing.status == 127 && argv[0] != "" && !strings.Contains(argv[0], "/") {
		if sh, shErr := s.shellProgram(`"$0" "$@"`); shErr == nil && sh.path == s.conn.server.shell {
			sh.args = append(sh.args, argv...)
			return sh, nil
		}
	}
	return program{path, argv}, err
}

// parseArgv decodes the payload of exec-argv@cloudssh.
func parseArgv(payload []byte) ([]string, error) {
	var head struct {
		Count uint32
		Rest  []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(payload, &head); err != nil {
		return nil, fmt.Errorf("decoding the argument count: %w", err)
	}
	// Each argument takes four bytes at least: no count can make us allocate
	// more than was sent.
	if head.Count == 0 || int64(head.Count)*4 > int64(len(head.Rest)) {
		return nil, fmt.Errorf("%d arguments in %d bytes", head.Count, len(head.Rest))
	}
	argv := make([]string, head.Count)
	rest := head.Rest
	for i := range argv {
		var item struct {
			Arg  string
			Rest []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(rest, &item); err != nil {
			return nil, fmt.Errorf("decoding argument %d: %w", i, err)
		}
		if strings.ContainsRune(item.Arg, 0) {
			return nil, fmt.Errorf("argument %d contains a NUL byte", i)
		}
		argv[i], rest = item.Arg, item.Rest
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the arguments", len(rest))
	}
	return argv, nil
}
