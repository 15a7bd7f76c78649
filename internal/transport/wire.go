package transport

// A wire carries whole frames of one stream's connection, in order. It has one
// reader and one writer at a time.
type wire interface {
	// read returns the next frame, valid until the next read. The error is
	// what became of the network, or a *protocolError when what came is no
	// frame.
	read() ([]byte, error)
	// write sends frames and returns when they are handed to the network. It
	// may change them, and keeps none.
	write(frames ...[]byte) error
	// close ends the wire at once and without waiting. It may be called from
	// anywhere, more than once, and unblocks read and write.
	close() error
	// name is "websocket" or "http".
	name() string
}

// A wire that can tell of parts of a frame is a progressive one: on a slow path
// a frame takes longer to arrive than silence is tolerated. heard is called
// from read, and must not block.
type progressive interface {
	progress(heard func())
}

// protocolError says that the peer sent what the protocol does not allow.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return "protocol error: " + e.text }
