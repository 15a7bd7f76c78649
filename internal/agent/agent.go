//go:build linux || darwin

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// Cloud Run sends SIGKILL ten seconds after SIGTERM. Within them
	// processes get hangupGrace to end themselves; one second is in reserve.
	hangupGrace = 5 * time.Second
	// wordGrace is how much of that the reason may take to reach the sessions
	// before their processes are told.
	wordGrace = 500 * time.Millisecond
	// killGrace is how long processes may take to end when they are killed.
	killGrace = time.Second
	// flushGrace is what is left then for last words and exit statuses to cross
	// the network, closeGrace for connections to end.
	flushGrace = 2 * time.Second
	closeGrace = time.Second
	// deleteGrace bounds the attempt to delete the twin, which goes on beside all that.
	deleteGrace = 9 * time.Second
)

// Config is what Serve needs.
type Config struct {
	Settings Settings
	HostKey  ssh.Signer
	Version  string       // build version, for the SSH banner and status@cloudssh
	Environ  []string     // the app's environment; nil means the process's own
	Shell    string       // the path of the shell for images that have none; "": there is none
	Logger   *slog.Logger // nil discards
	// LastLeft is called when the last connection announced that it leaves:
	// the twin is about to be deleted and should take no more. May be nil.
	LastLeft func()
	// Connected is called with the number of connections when it has changed, one
	// call at a time: what they may take of memory depends on it. May be nil.
	Connected func(n int)

	// For tests.
	self   *selfDeleter  // nil means what Settings and Environ say
	hangup time.Duration // 0 means hangupGrace
}

// A Conn is what Serve makes use of when an accepted connection has it:
// resumable streams do.
type Conn interface {
	net.Conn
	// Principal is the e-mail address of the caller, which somebody before us
	// has verified; "" if there is none.
	Principal() string
	// Detached says since when nothing has carried the stream, if so: then its
	// client has lost its network, sleeps, or is dead.
	Detached() (since time.Time, ok bool)
	// ID names the stream as its client knows it, in hex.
	ID() string
	// Abort ends the stream at once.
	Abort() error
}

// A server is one run of Serve.
type server struct {
	settings Settings
	version  string
	env      []string // of sessions, before what the client adds
	shell    string   // Config.Shell
	log      *slog.Logger
	lastLeft func()
	connNum  func(n int)
	self     *selfDeleter
	ssh      *ssh.ServerConfig
	keys     map[string]bool // authorized keys, in wire form
	shells   *shellRegistry
	started  time.Time
	hangup   time.Duration // hangupGrace, but in tests
	children *children
	buffers  *sync.Pool    // of forwarded connections
	changed  chan struct{} // tells the limits that connections came or went
	running  sync.WaitGroup

	mu         sync.Mutex
	conns      map[*connection]bool
	generation int           // of conns
	opening    []*opening    // the oldest first
	openings   chan struct{} // closed and replaced when one of them ends
	refusing   bool          // the twin is about to be deleted
	stopping   bool
	reached    bool // there was a connection
	idleSince  time.Time
	lease      time.Time // its end; zero: none
}

// Serve accepts SSH connections on l until ctx ends or a limit of the settings
// is reached, and then ends all sessions within ten seconds: their processes
// get SIGHUP and SIGTERM, and then SIGKILL. When the lease has ended it tries
// to delete the twin, too. If l has a method Shutdown(context.Context) error it
// gets two seconds of that to deliver what sessions wrote last. Serve closes l.
// The error is that of Accept; the end of ctx and the limits are no errors.
func Serve(ctx context.Context, l net.Listener, cfg Config) error {
	s, err := newServer(cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer s.children.close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.running.Go(func() { s.watchLimits(ctx, stop) })
	accepting := make(chan error, 1)
	go func() { accepting <- s.accept(l) }()
	select {
	case err = <-accepting:
		stop(err)
		err = fmt.Errorf("accepting connections: %w", err)
	case <-ctx.Done():
	}
	reason := "the instance is shutting down"
	var limit *limitError
	if errors.As(context.Cause(ctx), &limit) {
		reason = limit.reason
	}
	s.log.Info("agent stops", "reason", reason)
	deleted := s.deleteSelf(limit)
	s.shutdown(reason, l)
	l.Close() //nolint:errcheck // it ends Accept, and nothing else is left of it
	<-deleted
	return err
}

// deleteSelf has the platform delete the twin when its lease has ended, and
// when it would start the next instance as soon as this one has ended. The
// channel it returns is closed when the answer is known.
func (s *server) deleteSelf(limit *limitError) <-chan struct{} {
	done := make(chan struct{})
	if limit == nil || s.self == nil || !limit.lease && s.settings.MinInstances == 0 {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		// SIGTERM, which the deletion itself brings about, must not end it.
		ctx, cancel := context.WithTimeout(context.Background(), deleteGrace)
		defer cancel()
		if err := s.self.delete(ctx); err != nil {
			s.log.Warn("the agent could not delete its twin", "resource", s.settings.Resource, "reason", err.Error())
			return
		}
		s.log.Info("the agent deleted its twin", "resource", s.settings.Resource)
	}()
	return done
}

func newServer(cfg Config) (*server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if cfg.HostKey == nil {
		return nil, errors.New("the agent has no host key")
	}
	keys, err := cfg.Settings.keys()
	if err != nil {
		return nil, err
	}
	s := &server{
		settings: cfg.Settings,
		version:  cfg.Version,
		env:      sessionEnv(cfg.Environ),
		shell:    cfg.Shell,
		log:      cfg.Logger,
		lastLeft: cfg.LastLeft,
		connNum:  cfg.Connected,
		self:     cfg.self,
		keys:     keys,
		started:  time.Now(),
		hangup:   cmp.Or(cfg.hangup, hangupGrace),
		children: newChildren(),
		buffers:  newBuffers(),
		changed:  make(chan struct{}, 1),
		openings: make(chan struct{}),
		conns:    make(map[*connection]bool),
		lease:    cfg.Settings.expires(),
	}
	if s.self == nil {
		s.self = newSelfDeleter(cfg.Settings, cfg.Environ)
	}
	if s.connNum == nil {
		s.connNum = func(int) {}
	}
	s.shells = newShellRegistry(s.expires, s.notify, s.hangup)
	s.ssh = s.sshConfig(cfg.HostKey)
	return s, nil
}

// sshConfig allows modern algorithms only. aes128-gcm comes first because it is
// twice as fast as chacha20-poly1305 where the CPU has AES, which Cloud Run's
// have. The aes-ctr ones are for clients that have neither, like paramiko 2; with
// them, as with all, no MAC but encrypt-then-MAC is allowed. Who may log in is
// added for each connection.
func (s *server) sshConfig(hostKey ssh.Signer) *ssh.ServerConfig {
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
			Ciphers: []string{
				ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
				ssh.CipherAES128CTR, ssh.CipherAES256CTR,
			},
			MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		MaxAuthTries:  maxAuthTries,
		ServerVersion: "SSH-2.0-cloudssh_" + versionToken(s.version),
	}
	config.AddHostKey(hostKey)
	return config
}

// versionToken is a version as RFC 4253 §4.2 allows it in the banner: no
// spaces, no minus signs, no control characters.
func versionToken(version string) string {
	token := []rune(version)
	for i, r := range token {
		if r <= ' ' || r == '-' || r > '~' {
			token[i] = '_'
		}
	}
	if len(token) == 0 {
		return "devel"
	}
	return string(token[:min(len(token), 100)])
}

// accept takes connections until the listener closes.
func (s *server) accept(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if !s.admit(conn) {
			s.log.Warn("connection refused", "reason", "no more connections are taken")
			go abortStream(conn)
			continue
		}
		s.running.Go(func() { s.handle(conn) })
	}
}

// register makes a connection count. It is refused when the last one said
// that it leaves, whenever its own handshake began.
func (s *server) register(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened(c.stream) // it counts as one or the other at any time
	if s.refusing || s.stopping || !s.room(c) {
		return false
	}
	s.conns[c] = true
	s.generation++
	s.reached = true
	s.connNum(len(s.conns))
	s.notify()
	return true
}

func (s *server) unregister(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.generation++
	s.connNum(len(s.conns))
	s.idleSince = time.Now()
	s.notify()
	if len(s.conns) == 0 {
		// A transfer leaves buffers behind; the memory is the app's by right.
		go debug.FreeOSMemory()
	}
}

// notify wakes the limits.
func (s *server) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// expires is the end of the lease; zero: there is none.
func (s *server) expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// sessions are the sessions of all connections.
func (s *server) sessions() []*session {
	s.mu.Lock()
	conns := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	var all []*session
	for _, c := range conns {
		all = append(all, c.list()...)
	}
	return all
}

// tell writes a line to the sessions that are of a kind. The channel it
// returns is closed when all of them have it.
func (s *server) tell(text string, kind func(*session) bool) <-chan struct{} {
	var telling sync.WaitGroup
	for _, session := range s.sessions() {
		if kind(session) {
			// A client that does not read must not hold up the others.
			telling.Go(func() { session.say(text) })
		}
	}
	told := make(chan struct{})
	go func() {
		telling.Wait()
		close(told)
	}()
	return told
}

// shutdown ends all sessions and connections.
func (s *server) shutdown(reason string, l net.Listener) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	kill := time.NewTimer(s.hangup)
	defer kill.Stop()
	// First the words: a session that ends takes none any more. Commands
	// without a terminal get them too, or nobody would know what ended them.
	words := time.NewTimer(wordGrace)
	defer words.Stop()
	select {
	case <-s.tell(reason, func(session *session) bool { return session.running() != nil }):
	case <-words.C:
	}
	sessions := s.sessions()
	for _, session := range sessions {
		session.terminate(reason)
	}
	s.shells.terminate()
	s.awaitSessions(sessions, kill.C)
	s.shells.await(kill.C)
	for _, session := range sessions {
		session.kill()
	}
	s.shells.kill()
	last := time.NewTimer(killGrace)
	defer last.Stop()
	s.awaitSessions(sessions, last.C)
	s.shells.await(last.C)
	s.flush(l)
	s.closeConnections()
}

// flush waits until the clients have what was written to them, exit statuses
// among it, as far as the listener knows how to tell.
func (s *server) flush(l net.Listener) {
	f, ok := l.(interface{ Shutdown(context.Context) error })
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushGrace)
	defer cancel()
	if err := f.Shutdown(ctx); err != nil {
		s.log.Warn("last words did not reach all clients", "reason", err.Error())
	}
}

func (s *server) closeConnections() {
	s.mu.Lock()
	for _, o := range s.opening {
		go abortStream(o.conn)
	}
	for c := range s.conns {
		go c.Close() //nolint:errcheck // may wait for a dead peer
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	end := time.NewTimer(closeGrace)
	defer end.Stop()
	select {
	case <-done:
	case <-end.C:
	}
}

// awaitSessions returns when the sessions have ended, or at the timeout.
func (s *server) awaitSessions(sessions []*session, timeout <-chan time.Time) {
	for _, session := range sessions {
		select {
		case <-session.ended:
		case <-timeout:
			return
		}
	}
}
