package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// streamID names a stream. It is no secret.
type streamID [16]byte

// streamKey is known to the two ends of a stream only. It crosses the network
// once, over TLS, and proves every resumption.
type streamKey [32]byte

const protocolVersion byte = 1

// An attach is the client's first frame on a wire: it opens a stream, or goes
// on with one.
//
//	type u8 | version u8 | flags u8 | id [16] | epoch u32 | received u64 | consumed u64 | window u32 | proof [32]
type attach struct {
	id       streamID // zero: a new stream
	epoch    uint32   // rises with every attempt, so that a late one is known as such
	received uint64   // position up to which the client has got the agent's bytes,
	consumed uint64   // and up to which they were read from it
	window   uint32   // bytes the client takes unread
	proof    [32]byte
}

const attachSize = 3 + 16 + 4 + 8 + 8 + 4 + 32

// attachStatus is the agent's answer to an attach.
type attachStatus byte

const (
	attachOK      attachStatus = 0
	attachUnknown attachStatus = 1 // no such stream
	attachProof   attachStatus = 2 // wrong key or account
	attachStale   attachStatus = 3 // a later epoch was seen
	attachRange   attachStatus = 4 // impossible position
	attachExpired attachStatus = 5 // it had no wire for too long
	attachVersion attachStatus = 6 // another protocol
	attachBusy    attachStatus = 7 // too many streams, or too many unaccepted ones
	attachRefused attachStatus = 8 // the agent takes no new streams
)

// An attached is the agent's answer. The last two fields are there when the
// stream is new.
//
//	type u8 | status u8 | epoch u32 | received u64 | consumed u64 | window u32 |
//	rollover ms u32 | timeout ms u32 | keep s u32 [| id [16] | key [32]]
type attached struct {
	status   attachStatus
	epoch    uint32
	received uint64
	consumed uint64
	window   uint32
	rollover time.Duration // until the platform cuts this wire; 0 if nobody knows
	timeout  time.Duration // the platform's request timeout; 0 if nobody knows
	keep     time.Duration // how long a stream is kept without a wire
	created  bool          // the stream is new, with
	id       streamID
	key      streamKey
}

const (
	attachedSize    = 2 + 4 + 8 + 8 + 4 + 4 + 4 + 4
	attachedSizeNew = attachedSize + 16 + 32
)

var (
	errNoAttach   = errors.New("no attach where one must come first")
	errNoAttached = errors.New("no answer to the attach")
)

// prove sets the proof: an HMAC over all that the client claims, so that it can
// neither be changed nor, the epoch rising, used again.
func (a *attach) prove(key streamKey) { a.proof = a.sum(key) }

func (a *attach) sum(key streamKey) (sum [32]byte) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("cs1"))
	mac.Write(a.bytes()[:attachSize-len(a.proof)])
	mac.Sum(sum[:0])
	return sum
}

// proven checks the proof in constant time.
func (a *attach) proven(key streamKey) bool {
	sum := a.sum(key)
	return hmac.Equal(sum[:], a.proof[:])
}

func (a *attach) bytes() []byte {
	b := append(make([]byte, 0, attachSize), frameAttach, protocolVersion, 0)
	b = append(b, a.id[:]...)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	b = binary.BigEndian.AppendUint64(b, a.received)
	b = binary.BigEndian.AppendUint64(b, a.consumed)
	b = binary.BigEndian.AppendUint32(b, a.window)
	return append(b, a.proof[:]...)
}

// errAttachVersion is a well-formed attach of another protocol.
var errAttachVersion = errors.New("attach of another version of the protocol")

func parseAttach(msg []byte) (attach, error) {
	if len(msg) < 3 || msg[0] != frameAttach {
		return attach{}, errNoAttach
	}
	if msg[1] != protocolVersion {
		return attach{}, errAttachVersion
	}
	if len(msg) != attachSize || msg[2] != 0 {
		return attach{}, errShortFrame
	}
	var a attach
	b := msg[3:]
	b = b[copy(a.id[:], b):]
	a.epoch, b = binary.BigEndian.Uint32(b), b[4:]
	a.received, b = binary.BigEndian.Uint64(b), b[8:]
	a.consumed, b = binary.BigEndian.Uint64(b), b[8:]
	a.window, b = binary.BigEndian.Uint32(b), b[4:]
	copy(a.proof[:], b)
	return a, nil
}

func (a *attached) bytes() []byte {
	b := append(make([]byte, 0, attachedSizeNew), frameAttached, byte(a.status))
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	b = binary.BigEndian.AppendUint64(b, a.received)
	b = binary.BigEndian.AppendUint64(b, a.consumed)
	b = binary.BigEndian.AppendUint32(b, a.window)
	b = binary.BigEndian.AppendUint32(b, uint32(a.rollover.Milliseconds()))
	b = binary.BigEndian.AppendUint32(b, uint32(a.timeout.Milliseconds()))
	b = binary.BigEndian.AppendUint32(b, uint32(a.keep/time.Second))
	if a.created {
		b = append(append(b, a.id[:]...), a.key[:]...)
	}
	return b
}

func parseAttached(msg []byte) (attached, error) {
	if len(msg) < attachedSize || msg[0] != frameAttached {
		return attached{}, errNoAttached
	}
	a := attached{status: attachStatus(msg[1])}
	b := msg[2:]
	a.epoch, b = binary.BigEndian.Uint32(b), b[4:]
	a.received, b = binary.BigEndian.Uint64(b), b[8:]
	a.consumed, b = binary.BigEndian.Uint64(b), b[8:]
	a.window, b = binary.BigEndian.Uint32(b), b[4:]
	a.rollover, b = time.Duration(binary.BigEndian.Uint32(b))*time.Millisecond, b[4:]
	a.timeout, b = time.Duration(binary.BigEndian.Uint32(b))*time.Millisecond, b[4:]
	a.keep, b = time.Duration(binary.BigEndian.Uint32(b))*time.Second, b[4:]
	switch len(b) {
	case 0:
	case len(a.id) + len(a.key):
		a.created = true
		b = b[copy(a.id[:], b):]
		copy(a.key[:], b)
	default:
		return attached{}, errShortFrame
	}
	return a, nil
}

// err is what a status other than OK means for the client.
func (s attachStatus) err() error {
	switch s {
	case attachUnknown:
		return &FinalError{Reason: UnknownStream}
	case attachProof:
		return &FinalError{Reason: BadProof}
	case attachStale:
		return &FinalError{Reason: StaleEpoch}
	case attachRange:
		return &FinalError{Reason: OutOfRange}
	case attachExpired:
		return &FinalError{Reason: Expired}
	case attachVersion:
		return &FinalError{Reason: Version}
	case attachBusy:
		return errBusy
	case attachRefused:
		return &FinalError{Reason: Gone}
	}
	return &protocolError{"an answer that is none"}
}
