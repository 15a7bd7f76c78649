package transport

import (
	"fmt"
	"time"
)

// Wire says what carries a stream.
type Wire int

// The wires.
const (
	// WireAuto is a WebSocket, or plain HTTPS where something on the way
	// refuses or swallows the upgrade.
	WireAuto Wire = iota
	WireWebSocket
	WireHTTP
)

// ParseWire is the inverse of String.
func ParseWire(s string) (Wire, error) {
	for w := WireAuto; w <= WireHTTP; w++ {
		if s == w.String() {
			return w, nil
		}
	}
	return 0, fmt.Errorf("unknown wire %q: it is auto, websocket or http", s)
}

// String is "auto", "websocket" or "http".
func (w Wire) String() string {
	switch w {
	case WireAuto:
		return "auto"
	case WireWebSocket:
		return "websocket"
	case WireHTTP:
		return "http"
	}
	return fmt.Sprintf("Wire(%d)", int(w))
}

// Phase is the condition of a client's connection.
type Phase int

// The phases.
const (
	Connected Phase = iota // a wire carries the stream
	Suspect                // the wire is silent when it should not be; a second one is tried
	Lost                   // no wire; the stream waits and is tried again
	Closed                 // the stream has ended
)

// String is "connected", "suspect", "lost" or "closed".
func (p Phase) String() string {
	switch p {
	case Connected:
		return "connected"
	case Suspect:
		return "suspect"
	case Lost:
		return "lost"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("Phase(%d)", int(p))
}

// State is what an Endpoint's Observe is told.
type State struct {
	Phase   Phase
	Since   time.Time // when the phase began; for Suspect and Lost, when the last byte came
	Wire    string    // "websocket" or "http": what carries the stream now or did last
	Err     error     // Lost: the last attempt's error. Closed: why, nil after Close
	Next    time.Time // Lost: when it is tried again; zero while it is being tried
	Resumed bool      // Connected: again, after Lost. A roll-over is not reported as Lost
}

// Stats are the counts of one stream since it began.
type Stats struct {
	BytesIn, BytesOut   uint64        // payload: received, and written by our side
	FramesIn, FramesOut uint64        // frames of all types
	Resent              uint64        // bytes of payload that were sent again
	Wires               int           // wires that carried the stream
	Resumes             int           // wires but the first that were attached, roll-overs included
	MinRTT              time.Duration // least round trip on this wire, 0 if not known yet
	Rate                float64       // delivery rate, bytes per second, 0 if not known yet
	Limit               int           // bytes that may be in flight
}
