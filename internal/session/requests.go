package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// Status is the agent's account of itself.
type Status struct {
	Connections    int           // SSH connections
	Sessions       int           // shells and commands on all of them
	Detached       int           // terminal sessions without a client
	Holders        int           // connections that only hold the instance
	Started        time.Time     // when the agent started
	Expires        time.Time     // end of the lease; zero when there is none
	IdleTimeout    time.Duration // 0 when there is none
	RequestTimeout time.Duration // after which the platform cuts a request; 0 when unknown
	Memory         int64         // the agent's resident memory in bytes; 0 when unknown
	Version        string
}

// Status asks the agent for its account of itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s struct {
		Connections    int    `json:"connections"`
		Sessions       int    `json:"sessions"`
		Detached       int    `json:"detached"`
		Holders        int    `json:"holders"`
		Started        int64  `json:"started"`
		Expires        int64  `json:"expires"`
		IdleTimeout    int64  `json:"idle_timeout"`
		RequestTimeout int64  `json:"request_timeout"`
		Memory         int64  `json:"memory"`
		Version        string `json:"version"`
	}
	if err := c.askJSON(ctx, "status@cloudssh", &s); err != nil {
		return Status{}, fmt.Errorf("asking the agent for its status: %w", err)
	}
	return Status{
		Connections: s.Connections, Sessions: s.Sessions, Detached: s.Detached, Holders: s.Holders,
		Started: unix(s.Started), Expires: unix(s.Expires),
		IdleTimeout: time.Duration(s.IdleTimeout) * time.Second, RequestTimeout: time.Duration(s.RequestTimeout) * time.Second,
		Memory: s.Memory, Version: s.Version,
	}, nil
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// Info describes a terminal session in the agent.
type Info struct {
	ID         uint32    // numbers count from 1 in each instance
	Title      string    // that its program gave the terminal; may be empty
	Command    string    // empty for a shell
	Owner      string    // who started it, as the agent knows them
	Started    time.Time // when
	Detached   time.Time // since when no client has it; zero while one has
	Until      time.Time // when a detached session ends; zero when it is not limited
	Cols, Rows int       // size of its terminal
	Share      ShareMode // whether others may join it
	Viewers    []string  // who has joined, and how
}

// Sessions lists the terminal sessions that this connection may attach,
// oldest first.
func (c *Client) Sessions(ctx context.Context) ([]Info, error) {
	var list []struct {
		ID       uint32   `json:"id"`
		Title    string   `json:"title"`
		Command  string   `json:"command"`
		Owner    string   `json:"owner"`
		Started  int64    `json:"started"`
		Detached int64    `json:"detached"`
		Until    int64    `json:"until"`
		Cols     int      `json:"cols"`
		Rows     int      `json:"rows"`
		Share    string   `json:"share"`
		Viewers  []string `json:"viewers"`
	}
	if err := c.askJSON(ctx, "sessions@cloudssh", &list); err != nil {
		return nil, fmt.Errorf("asking the agent for its sessions: %w", err)
	}
	infos := make([]Info, len(list))
	for i, s := range list {
		infos[i] = Info{
			ID: s.ID, Title: s.Title, Command: s.Command, Owner: s.Owner,
			Started: unix(s.Started), Detached: unix(s.Detached), Until: unix(s.Until),
			Cols: s.Cols, Rows: s.Rows, Share: parseShare(s.Share), Viewers: s.Viewers,
		}
	}
	return infos, nil
}

// Remaining is what stays in a twin when a client leaves.
type Remaining struct {
	Connections int // of others, those that leave or only hold not counted
	Detached    int // terminal sessions that wait for a client
}

// None says that nothing stays: the agent takes nobody new, and the twin can
// be deleted.
func (r Remaining) None() bool { return r == Remaining{} }

// Leave tells the agent that this connection is about to end and returns what
// remains without it.
func (c *Client) Leave(ctx context.Context) (Remaining, error) {
	reply, err := c.ask(ctx, "leave@cloudssh", nil)
	if err != nil {
		return Remaining{}, fmt.Errorf("telling the agent that we leave: %w", err)
	}
	var r struct{ Connections, Detached uint32 }
	if err := ssh.Unmarshal(reply, &r); err != nil {
		return Remaining{}, fmt.Errorf("reading what remains in the twin: %w", err)
	}
	return Remaining{Connections: int(r.Connections), Detached: int(r.Detached)}, nil
}

// Hold makes this connection one that only holds the instance: no other
// client waits for it to leave.
func (c *Client) Hold(ctx context.Context) error {
	if _, err := c.ask(ctx, "hold@cloudssh", nil); err != nil {
		return fmt.Errorf("asking the agent to let us hold the instance: %w", err)
	}
	return nil
}

// Gone tells the agent that the client of another connection, named by its
// ID, has died: the agent ends that connection instead of waiting for it.
func (c *Client) Gone(ctx context.Context, id string) error {
	if _, err := c.ask(ctx, "gone@cloudssh", ssh.Marshal(struct{ Connection string }{id})); err != nil {
		return fmt.Errorf("telling the agent that a client is gone: %w", err)
	}
	return nil
}

// Renew moves the end of the lease, as the agent knows it, to a later time.
func (c *Client) Renew(ctx context.Context, expires time.Time) error {
	if _, err := c.ask(ctx, "renew@cloudssh", ssh.Marshal(struct{ Expires uint64 }{uint64(max(0, expires.Unix()))})); err != nil {
		return fmt.Errorf("renewing the lease at the agent: %w", err)
	}
	return nil
}

func (c *Client) askJSON(ctx context.Context, request string, into any) error {
	reply, err := c.ask(ctx, request, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, into); err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	return nil
}

// ask sends a global request and waits for its reply until ctx ends: the
// connection below may take long to come back after an outage, so a late
// answer does not mean that it is lost, and nothing is closed for it.
//
// SendRequest waits without limit and holds a lock meanwhile, so it has a
// goroutine of its own, and requests queue here, where waiting can end.
func (c *Client) ask(ctx context.Context, request string, payload []byte) ([]byte, error) {
	select {
	case c.asking <- struct{}{}:
	case <-c.done:
		return nil, c.lost()
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
		ok, payload, err := c.conn.SendRequest(request, true, payload)
		if err == nil && !ok {
			err = &deniedError{request, string(payload)}
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

// deniedError is the answer to a global request that is not granted. RFC 4254
// has no place for a reason in it; our agent adds one where it has one.
type deniedError struct{ request, reason string }

func (e *deniedError) Error() string {
	return "the agent does not know or allow " + e.request
}
