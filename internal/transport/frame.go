package transport

import (
	"errors"
	"fmt"
)

// A frame is one binary WebSocket message: a type byte, then the payload.
// Types from 128 up are for later versions to add and are ignored; any other
// unknown type is a protocol error.
const (
	frameData     byte = 3
	framePing     byte = 5
	framePong     byte = 6
	frameOptional byte = 128
)

const (
	// maxPayload bounds a frame's payload. 64 KiB is two SSH packets, enough
	// to make the cost per frame vanish.
	maxPayload = 64 << 10
	// readLimit is the longest message the WebSocket layer accepts. The
	// library's default, 32 KiB, would close the connection on a full frame.
	readLimit = maxPayload + 64
)

var (
	errEmptyFrame = errors.New("empty frame")
	errLongFrame  = fmt.Errorf("frame of more than %d bytes", maxPayload)
)

// parseFrame splits a message. The payload aliases msg.
func parseFrame(msg []byte) (kind byte, payload []byte, err error) {
	if len(msg) == 0 {
		return 0, nil, errEmptyFrame
	}
	kind, payload = msg[0], msg[1:]
	if len(payload) > maxPayload {
		return 0, nil, errLongFrame
	}
	switch {
	case kind == frameData, kind == framePing, kind == framePong, kind >= frameOptional:
		return kind, payload, nil
	}
	return 0, nil, fmt.Errorf("unknown frame type %d", kind)
}
