package transport

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// The paths an agent answers. Neither ends in "z": Cloud Run reserves some
// such paths (/healthz among them) and answers them itself.
const (
	StreamPath = "/cloudssh/v1/stream" // the WebSocket upgrade
	StatusPath = "/cloudssh/v1/status" // 200 and Status as JSON
)

// Subprotocol is the WebSocket subprotocol both ends insist on.
const Subprotocol = "cs1.cloudssh"

// Header fields of the upgrade request and of its answer.
const (
	VersionHeader  = "Cloudssh-Version"  // both ways: the build version
	InstanceHeader = "Cloudssh-Instance" // answer: the instance's id, hex
	HostKeyHeader  = "Cloudssh-Host-Key" // answer: the SSH host key, authorized_keys form
)

// An Endpoint says how to reach an agent.
type Endpoint struct {
	// URL is the base URL of the twin: https://NAME-NUMBER.REGION.run.app.
	URL string
	// Header makes the request headers of one dial. It is called for every
	// dial because the ID token in them expires. May be nil.
	Header func(context.Context) (http.Header, error)
	// Version is the client's build version; an agent of another version
	// refuses the connection (*VersionError).
	Version string
	// Client makes the upgrade request. Nil means a client of this package:
	// HTTP/1.1, proxies from the environment, and localhost and *.localhost
	// always on the loopback interface.
	Client *http.Client
	// Wire is what to connect with.
	Wire Wire
	// Observe is told when the connection's state changes: one call at a time,
	// in order. It must not block. May be nil.
	Observe func(State)
	// Logger gets what happens on the wires, at debug level. Nil discards it.
	Logger *slog.Logger

	window int              // bytes taken unread; 0 means maxWindow
	wall   func() time.Time // the clock on the wall; nil means time.Now
	filler time.Duration    // the least that the first bytes of a streamed response may take, if more than fillerTime
	// opener opens wires of another kind; nil means that Wire says which.
	opener func(context.Context) (wire, Peer, error)
}

// Peer is what an agent says of itself in the answer to the upgrade, over TLS.
type Peer struct {
	Version  string // build version, equal to the client's
	Instance string // id of the instance, hex
	HostKey  string // SSH host key in authorized_keys form
	// RequestTimeout is when the platform cuts a request, 0 if the agent does
	// not know.
	RequestTimeout time.Duration
	// Keep is how long the agent keeps a stream without a wire.
	Keep time.Duration
}

// Status is the body of the answer at StatusPath.
type Status struct {
	Version  string `json:"version"`
	Instance string `json:"instance"`
}
