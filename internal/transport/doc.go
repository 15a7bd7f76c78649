// Package transport carries a byte stream between client and agent over a
// WebSocket, the one thing that Cloud Run's front end lets through both ways.
//
// Dial gives the client a net.Conn, Listener gives the agent a net.Listener
// that is fed by HTTP upgrades. What is above them, SSH, knows nothing of
// WebSockets; what is below, one WebSocket, may be replaced without a change
// above.
//
// One binary WebSocket message is one frame: a type byte and a payload of at
// most 64 KiB. Liveness is shown by frames, never by WebSocket pings, which
// intermediate proxies answer or swallow. The WebSocket library's own
// deadlines are never used, because reaching one closes the connection.
package transport
