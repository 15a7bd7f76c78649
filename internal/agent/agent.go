//go:build linux || darwin

package agent

import (
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
	handshakeTimeout = 30 * time.Second
	maxConnections   = 64
	maxSessions      = 64 // per connection
	maxAuthTries     = 6

	// Cloud Run sends SIGKILL ten seconds after SIGTERM. Within them
	// processes get hangupGrace to end themselves; one second is in reserve.
	hangupGrace = 5 * time.Second
	// wordGrace is how much of that the reason may take to reach the sessions
	// before their processes are told.
	wordGrace = 500 * time.Millisecond
	// closeGrace is what is left then for last words to cross the network.
	closeGrace = 2 * time.Second
)

// Config is what Serve needs.
type Config struct {
	Settings Settings
	HostKey  ssh.Signer
	Version  string       // build version, for the SSH banner and status@cloudssh
	Environ  []string     // the app's environment; nil means the process's own
	Logger   *slog.Logger // nil discards
	// LastLeft is called when the last connection announced that it leaves:
	// the twin is about to be deleted and should take no more. May be nil.
	LastLeft func()
}

// A server is one run of Serve.
type server struct {
	settings Settings
	version  string
	env      []string // of sessions, before what the client adds
	log      *slog.Logger
	lastLeft func()
	started  time.Time
	children *children
	changed  chan struct{} // tells the limits that connections came or went
	running  sync.WaitGroup

	mu        sync.Mutex
	conns     map[*connection]bool
	opening   int  // connections in their handshake
	refusing  bool // the twin is about to be deleted
	stopping  bool
	reached   bool // there was a connection
	idleSince time.Time
}

// Serve accepts SSH connections on l until ctx ends or a limit of the settings
// is reached, and then ends all sessions within ten seconds: their processes
// get SIGHUP and SIGTERM, and then SIGKILL. It closes l. The error is that of
// Accept; the end of ctx and the limits are no errors.
func Serve(ctx context.Context, l net.Listener, cfg Config) error {
	s, config, err := newServer(cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer s.children.close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { l.Close() })() //nolint:errcheck // ends Accept, whatever it says
	s.running.Go(func() { s.watchLimits(ctx, stop) })
	err = s.accept(ctx, l, config)
	stop(err)
	reason := "the instance is shutting down"
	var limit *limitError
	if errors.As(context.Cause(ctx), &limit) {
		reason = limit.reason
	}
	s.log.Info("agent stops", "reason", reason)
	s.shutdown(reason)
	if err != nil {
		return fmt.Errorf("accepting connections: %w", err)
	}
	return nil
}

func newServer(cfg Config) (*server, *ssh.ServerConfig, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if cfg.HostKey == nil {
		return nil, nil, errors.New("the agent has no host key")
	}
	s := &server{
		settings: cfg.Settings,
		version:  cfg.Version,
		env:      sessionEnv(cfg.Environ),
		log:      cfg.Logger,
		lastLeft: cfg.LastLeft,
		started:  time.Now(),
		children: newChildren(),
		changed:  make(chan struct{}, 1),
		conns:    make(map[*connection]bool),
	}
	config, err := s.sshConfig(cfg.HostKey)
	if err != nil {
		s.children.close()
		return nil, nil, err
	}
	return s, config, nil
}

// sshConfig allows public keys and modern algorithms only. aes128-gcm comes
// first because it is twice as fast as chacha20-poly1305 where the CPU has AES,
// which Cloud Run's have.
func (s *server) sshConfig(hostKey ssh.Signer) (*ssh.ServerConfig, error) {
	keys, err := s.settings.keys()
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305},
			MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		MaxAuthTries:  maxAuthTries,
		ServerVersion: "SSH-2.0-cloudssh_" + versionToken(s.version),
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !keys[string(key.Marshal())] {
				return nil, errors.New("unknown public key")
			}
			return &ssh.Permissions{Extensions: map[string]string{"key": ssh.FingerprintSHA256(key)}}, nil
		},
		BannerCallback: func(ssh.ConnMetadata) string {
			if s.isRefusing() {
				return "cloudssh: this twin is about to be deleted\r\n"
			}
			return ""
		},
	}
	config.AddHostKey(hostKey)
	return config, nil
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

// accept takes connections until the listener closes; that is an error only if
// nobody asked for it.
func (s *server) accept(ctx context.Context, l net.Listener, config *ssh.ServerConfig) error {
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close() //nolint:errcheck // nobody used it
			}
			return nil
		}
		if err != nil {
			return err
		}
		if !s.admit() {
			s.log.Warn("connection refused", "reason", "too many connections")
			conn.Close() //nolint:errcheck // nobody used it
			continue
		}
		s.running.Go(func() { s.handle(conn, config) })
	}
}

// admit counts a new connection in, if there may be one more.
func (s *server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || len(s.conns)+s.opening >= maxConnections {
		return false
	}
	s.opening++
	return true
}

// register makes a connection count. It is refused when the last one said
// that it leaves, whenever its own handshake began.
func (s *server) register(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusing || s.stopping {
		return false
	}
	s.conns[c] = true
	s.reached = true
	s.notify()
	return true
}

func (s *server) unregister(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) > 0 {
		return
	}
	s.idleSince = time.Now()
	s.notify()
	// A transfer leaves buffers behind; the memory is the app's by right.
	go debug.FreeOSMemory()
}

// notify wakes the limits. The mutex is held.
func (s *server) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *server) isRefusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusing
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
func (s *server) shutdown(reason string) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	kill := time.NewTimer(hangupGrace)
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
		session.terminate()
	}
	s.awaitSessions(sessions, kill.C)
	for _, session := range sessions {
		session.kill()
	}
	last := time.NewTimer(closeGrace)
	defer last.Stop()
	s.awaitSessions(sessions, last.C)
	s.mu.Lock()
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

func (s *server) awaitSessions(sessions []*session, timeout <-chan time.Time) {
	for _, session := range sessions {
		select {
		case <-session.ended:
		case <-timeout:
			return
		}
	}
}
