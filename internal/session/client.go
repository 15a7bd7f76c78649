// Package session is the client's end of a session: SSH over any net.Conn.
// It runs commands and shells, delivers all of their output, and tells apart
// a command that failed from a connection that did.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// requestTimeout bounds a question to the agent. The connection below may
	// take long to come back after an outage, so a late answer does not mean
	// that it is lost, and nothing is closed for it.
	requestTimeout = 15 * time.Second
	// abortGrace is how long a command has to end when the caller gives up.
	abortGrace = 2 * time.Second
)

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
	grace time.Duration

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
	sc, chans, reqs, err := ssh.NewClientConn(conn, "agent", clientConfig(cfg, &banner))
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
	c := &Client{conn: sc, grace: abortGrace, asking: make(chan struct{}, 1), done: make(chan struct{})}
	go answer(reqs)
	go reject(chans)
	go func() {
		c.err = sc.Wait()
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

// reject refuses channels that the agent opens: we offer none.
func reject(chans <-chan ssh.NewChannel) {
	for c := range chans {
		_ = c.Reject(ssh.UnknownChannelType, "not offered by cloudssh")
	}
}

// Status is the agent's account of itself.
type Status struct {
	Connections int           // SSH connections
	Sessions    int           // shells and commands on all of them
	Started     time.Time     // when the agent started
	Expires     time.Time     // end of the lease; zero when there is none
	IdleTimeout time.Duration // 0 when there is none
	Version     string
}

// Status asks the agent for its account of itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	reply, err := c.ask(ctx, "status@cloudssh")
	if err != nil {
		return Status{}, fmt.Errorf("asking the agent for its status: %w", err)
	}
	var s struct {
		Connections int    `json:"connections"`
		Sessions    int    `json:"sessions"`
		Started     int64  `json:"started"`
		Expires     int64  `json:"expires"`
		IdleTimeout int64  `json:"idle_timeout"`
		Version     string `json:"version"`
	}
	if err := json.Unmarshal(reply, &s); err != nil {
		return Status{}, fmt.Errorf("reading the agent's status: %w", err)
	}
	return Status{
		Connections: s.Connections, Sessions: s.Sessions,
		Started: unix(s.Started), Expires: unix(s.Expires),
		IdleTimeout: time.Duration(s.IdleTimeout) * time.Second, Version: s.Version,
	}, nil
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// Leave tells the agent that this connection is about to end and returns how
// many others remain. At zero the agent accepts no new ones, and the twin can
// be deleted.
func (c *Client) Leave(ctx context.Context) (remaining int, err error) {
	reply, err := c.ask(ctx, "leave@cloudssh")
	if err != nil {
		return 0, fmt.Errorf("telling the agent that we leave: %w", err)
	}
	var r struct{ Remaining uint32 }
	if err := ssh.Unmarshal(reply, &r); err != nil {
		return 0, fmt.Errorf("reading how many connections remain: %w", err)
	}
	return int(r.Remaining), nil
}

// ask sends a global request and waits for its reply. SendRequest waits
// without limit and holds a lock meanwhile, so it has a goroutine of its own,
// and requests queue here, where waiting can end.
func (c *Client) ask(ctx context.Context, request string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout,
		fmt.Errorf("no answer within %v: %w", requestTimeout, context.DeadlineExceeded))
	defer cancel()
	select {
	case c.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	type answer struct {
		payload []byte
		err     error
	}
	got := make(chan answer, 1)
	go func() {
		defer func() { <-c.asking }()
		ok, payload, err := c.conn.SendRequest(request, true, nil)
		if err == nil && !ok {
			err = fmt.Errorf("the agent does not know %s", request)
		}
		got <- answer{payload, err}
	}()
	select {
	case a := <-got:
		return a.payload, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection and all that runs on it.
func (c *Client) Close() error {
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
