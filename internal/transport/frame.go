package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame is one message of a wire: a type byte, then fixed fields, big endian,
// then what is left. Types from 128 up are for later versions to add and are
// ignored; any other unknown type is a protocol error.
//
//	DATA         ack u64 | pos u64 | bytes   pos is that of the first byte
//	ACK          ack u64 | end u64           end of what the sender has written
//	PING, PONG   ack u64 | t u64             t comes back as it was
//	FIN          ack u64 | end u64 | how u8  nothing comes after end
//	GOAWAY       reason u8 | ms u32          the wire should not be used that much longer
//	RESET        code u8 | text              the stream is over
//
// ack is the position up to which the sender of the frame has consumed what it
// received. A FIN counts as one position after the last byte.
const (
	frameAttach   byte = 1
	frameAttached byte = 2
	frameData     byte = 3
	frameAck      byte = 4
	framePing     byte = 5
	framePong     byte = 6
	frameFin      byte = 7
	frameGoAway   byte = 8
	frameReset    byte = 9
	frameOptional byte = 128
)

const (
	// maxPayload bounds a DATA frame's payload. 64 KiB is two SSH packets,
	// enough to make the cost per frame vanish.
	maxPayload = 64 << 10
	// headerSize is the size of a frame without payload, that of FIN being one more.
	headerSize = 17
	// maxFrame is the longest frame there is. The WebSocket library's default
	// limit, 32 KiB, would close the connection on a full frame.
	maxFrame  = headerSize + maxPayload
	readLimit = maxFrame
	// maxResetText bounds the text in a RESET.
	maxResetText = 512
)

// finHangup in a FIN says that its sender reads no more either.
const finHangup byte = 1

// Codes of RESET.
const (
	resetDone       byte = 0 // all was delivered both ways: an orderly end
	resetAborted    byte = 1 // its sender gave up
	resetRange      byte = 2 // impossible position
	resetSuperseded byte = 3 // another client resumed the stream
	resetProtocol   byte = 4 // frames that make no sense, again
	resetExpired    byte = 5 // without a wire for too long
)

// Reasons of GOAWAY. Others are for later versions to add and are ignored.
const (
	goAwayShutdown byte = 1 // the instance stops, and streams with it
)

var (
	errEmptyFrame = errors.New("empty frame")
	errShortFrame = errors.New("frame cut short")
	errLongFrame  = fmt.Errorf("frame of more than %d bytes", maxFrame)
)

// A frame as parsed. Which fields it has depends on its type.
type frame struct {
	kind    byte
	ack     uint64
	pos     uint64 // DATA: position; ACK, FIN: end; PING, PONG: t
	code    byte   // FIN: how; GOAWAY: reason; RESET: code
	millis  uint32 // GOAWAY
	payload []byte // DATA: bytes; RESET: text
}

// parseFrame reads a frame of a stream that is attached. The payload aliases
// msg.
func parseFrame(msg []byte) (frame, error) {
	switch {
	case len(msg) == 0:
		return frame{}, errEmptyFrame
	case len(msg) > maxFrame:
		return frame{}, errLongFrame
	}
	f := frame{kind: msg[0]}
	rest := msg[1:]
	switch f.kind {
	case frameData, frameAck, framePing, framePong, frameFin:
		if len(rest) < headerSize-1 {
			return frame{}, errShortFrame
		}
		f.ack, f.pos, rest = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:]), rest[16:]
		switch {
		case f.kind == frameData:
			f.payload, rest = rest, nil
		case f.kind == frameFin && len(rest) == 1:
			f.code, rest = rest[0], nil
		case f.kind == frameFin:
			return frame{}, errShortFrame
		}
	case frameGoAway:
		if len(rest) < 5 {
			return frame{}, errShortFrame
		}
		f.code, f.millis, rest = rest[0], binary.BigEndian.Uint32(rest[1:]), rest[5:]
	case frameReset:
		if len(rest) < 1 || len(rest) > 1+maxResetText {
			return frame{}, errShortFrame
		}
		f.code, f.payload, rest = rest[0], rest[1:], nil
	default:
		if f.kind < frameOptional {
			return frame{}, fmt.Errorf("unknown frame type %d", f.kind)
		}
		rest = nil
	}
	if len(rest) > 0 {
		return frame{}, fmt.Errorf("frame of type %d is %d bytes too long", f.kind, len(rest))
	}
	return f, nil
}

// appendHeader appends the fields that DATA, ACK, PING, PONG and FIN share.
func appendHeader(b []byte, kind byte, ack, pos uint64) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, ack)
	return binary.BigEndian.AppendUint64(b, pos)
}

func newGoAway(reason byte, millis uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{frameGoAway, reason}, millis)
}

func newReset(code byte, text string) []byte {
	if len(text) > maxResetText {
		text = text[:maxResetText]
	}
	return append([]byte{frameReset, code}, text...)
}
