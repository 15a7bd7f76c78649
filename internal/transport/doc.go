// Package transport carries a byte stream between client and agent that
// outlives the network connections under it. Not a byte is lost or repeated
// when the platform cuts a request after its time, a laptop sleeps, a proxy
// drops an idle connection or a network changes for another.
//
// Dial gives the client a net.Conn, Listener gives the agent a net.Listener
// that is fed by HTTP requests. What is above them, SSH, knows nothing of what
// follows.
//
// # Layers
//
//	stream    two buffers and their positions; Read and Write touch nothing else
//	link      moves a stream's bytes over one wire: frames, acknowledgements, limits
//	wire      carries whole frames: a WebSocket, or plain HTTP requests
//	keeper    on the client: gives the stream another link when it needs one
//	registry  on the agent: knows the streams that may be resumed
//
// # The protocol, cs1
//
// A frame is one binary WebSocket message (frame.go lists them). The client's
// first frame on a wire, ATTACH, opens a stream or goes on with one. To go on,
// it shows by an HMAC that it has the key which the agent gave it when the stream
// was opened, and an epoch that rises with each attempt; the account in the ID
// token must be the same. The agent then leaves the wire before, and nothing
// that still arrives on that counts. Both say how much they have received and
// how much of it was read, and send again what the other has not received. So
// the newest client with the key has the stream; one that has it too is told.
//
// DATA has the absolute position of its bytes. An acknowledgement, in every
// frame, is the position up to which bytes were read by the SSH layer. Sent and
// not acknowledged is at most what the receiver can hold (8 MiB), so it never
// has to stop reading, and acknowledgements and PINGs are never stuck behind
// data that nobody wants. Below that, a limit adapts to twice what the path
// holds (flow.go), so that a keystroke does not wait behind a transfer.
//
// FIN ends one direction, in order, and is acknowledged like a byte. RESET ends
// the stream at once. GOAWAY tells the client that the instance stops.
//
// # Liveness
//
// Whatever arrives is a sign of life. A client whose frames go unanswered for
// two seconds (four round trips, if that is more) dials a second time beside,
// and takes whichever answers first; after ten it gives the wire up. It looks at
// once when the clock on the wall has jumped, because the machine slept, when
// addresses or routes change, and when a key is pressed. The agent gives up a
// wire after 45 seconds and keeps the stream, for 24 hours unless told otherwise.
//
// Before the platform cuts a wire the client attaches another. The agent tells
// when that will be; a lifetime that nobody told of is learned from two cuts.
//
// WebSocket pings are not used: proxies answer or swallow them. Nor are the
// WebSocket library's contexts and deadlines, because reaching one closes the
// connection.
package transport
