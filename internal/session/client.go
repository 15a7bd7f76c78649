// Package session is the client's end of a session: SSH over any net.Conn.
// It runs commands and shells, delivers all of their output, and tells apart
// a command that failed from a connection that did. It forwards connections in
// both directions, and the local SSH agent.
package session

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// abortGrace is how long a command has to end when the caller gives up.
const abortGrace = 2 * time.Second

// Config says who we are and whom we expect.
type Config struct {
	Signer  ssh.Signer    // the user's key
	HostKey ssh.PublicKey // the only host key that is accepted
	User    string        // any name; the agent does not look at it
}

// Client is an SSH connection to an agent. Its methods may be called from
// several goroutines.
type Client struct {
	conn  ssh.Conn
	lower *watchedConn // below SSH
	grace time.Duration

	listeners listeners // of ours in the instance
	agents    agents    // ways to the local SSH agent

	asking chan struct{} // holds a token while a global request is under way

	done chan struct{} // closed when the connection has ended
	err  error         // why; valid after done
}

// New performs the SSH handshake on conn, which belongs to the client from
// then on. When ctx ends first it closes conn and gives up.
func New(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	if cfg.Signer == nil || cfg.HostKey == nil {
		return nil, errors.Join(errors.New("starting SSH: a signer and a host key are needed"), conn.Close())
	}
	var banner bytes.Buffer
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	watched := &watchedConn{Conn: conn}
	sc, chans, reqs, err := ssh.NewClientConn(watched, "agent", clientConfig(cfg, &banner))
	if !stop() && err == nil { // conn was closed after all
		_ = sc.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if said := strings.TrimSpace(banner.String()); said != "" {
			return nil, fmt.Errorf("starting SSH: %w (the agent says: %s)", err, said)
		}
		return nil, fmt.Errorf("starting SSH: %w", err)
	}
	c := &Client{conn: sc, lower: watched, grace: abortGrace, asking: make(chan struct{}, 1), done: make(chan struct{})}
	go answer(reqs)
	go c.accept(chans)
	go func() {
		c.err = sc.Wait()
		if first := c.broken(); first != nil {
			c.err = first
		}
		close(c.done)
	}()
	return c, nil
}

func clientConfig(cfg Config, banner *bytes.Buffer) *ssh.ClientConfig {
	c := &ssh.ClientConfig{
		User:          cfg.User,
		ClientVersion: "SSH-2.0-cloudssh",
		Auth:          []ssh.AuthMethod{ssh.PublicKeys(cfg.Signer)},
		HostKeyCallback: func(_ string, _ net.Addr, got ssh.PublicKey) error {
			if bytes.Equal(got.Marshal(), cfg.HostKey.Marshal()) {
				return nil
			}
			return &HostKeyError{Want: ssh.FingerprintSHA256(cfg.HostKey), Got: ssh.FingerprintSHA256(got)}
		},
		BannerCallback: func(message string) error {
			banner.WriteString(message)
			return nil
		},
	}
	if cfg.HostKey.Type() != ssh.KeyAlgoRSA { // an RSA key has several algorithms
		c.HostKeyAlgorithms = []string{cfg.HostKey.Type()}
	}
	// AES-GCM is several times faster here than chacha20-poly1305, which has
	// no combined assembly in the form SSH uses.
	c.Ciphers = []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
	}
	return c
}

// answer serves the agent's global requests: unserved, they would stop the
// whole connection once sixteen wait.
func answer(reqs <-chan *ssh.Request) {
	for r := range reqs {
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil) // fails when the connection does
		}
	}
}

// ID names the connection to the agent: the SSH session identifier in hex.
func (c *Client) ID() string { return hex.EncodeToString(c.conn.SessionID()) }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// broken is the error that ended, or is about to end, the connection; nil while
// there is none.
func (c *Client) broken() error { return c.lower.first() }

// Err says why the connection has ended; nil while it has not.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.lost()
	default:
		return nil
	}
}

// Close ends the connection and all that runs on it.
func (c *Client) Close() error {
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// watchedConn remembers the first error of a connection. SSH reports what it
// met itself, and that may be no more than that it has closed the connection.
type watchedConn struct {
	net.Conn

	mu  sync.Mutex
	err error
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.note(err)
	return n, err
}

func (w *watchedConn) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.note(err)
	return n, err
}

func (w *watchedConn) note(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *watchedConn) first() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
