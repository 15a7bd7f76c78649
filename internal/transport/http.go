package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// The paths of the wire for networks that let no WebSocket through: a response
// without end carries frames down, a sequence of bounded requests carries them
// up. Where a proxy on the way withholds a response until it is complete, a
// sequence of bounded responses, each asked for ahead of time, takes the place
// of the endless one.
const (
	openPath = "/cloudssh/v1/open" // POST: makes a connection, answers who the agent is
	upPath   = "/cloudssh/v1/up"   // POST: frames in the body
	downPath = "/cloudssh/v1/down" // GET: frames for as long as there are any
	pollPath = "/cloudssh/v1/poll" // GET: the frames there are, or soon will be
)

// Header fields of these requests. The connection's name is not in the URL
// because URLs are logged.
const (
	connectionHeader = "Cloudssh-Connection" // request: the connection, 32 hex digits
	sequenceHeader   = "Cloudssh-Sequence"   // request: number among the POSTs, or polls, of a connection
	endHeader        = "Cloudssh-End"        // answer to a poll: it is the last one
)

const (
	// maxBody bounds the body of one request or polled response: enough for
	// 10 MB/s at 100 ms with one of them under way, far below the 32 MiB at
	// which Cloud Run refuses a request.
	maxBody = 1 << 20
	// maxPosts is how many POSTs are under way at once, so that uploading is
	// not one body for each round trip.
	maxPosts = 4
	// maxPolls is how many polls are: while the answer to one travels, the
	// agent has the next one to answer.
	maxPolls = 2
	// pollTime is how long a poll waits for something to answer. Proxies cut
	// requests that are silent for 30 seconds.
	pollTime = 20 * time.Second
	// frameHead is the length in front of each frame, big endian. A length of
	// zero is a filler, without a frame.
	frameHead = 4
)

var errLongRecord = &protocolError{"a frame of more than the greatest length"}

// appendRecord appends a frame with its length.
func appendRecord(b, frame []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(frame)))
	return append(b, frame...)
}

// splitRecord takes the first frame, which aliases b, off b. A nil frame
// without an error says that b holds no whole one yet.
func splitRecord(b []byte) (frame, rest []byte, err error) {
	for len(b) >= frameHead {
		n := int(binary.BigEndian.Uint32(b))
		switch {
		case n > maxFrame:
			return nil, b, errLongRecord
		case n == 0:
			b = b[frameHead:]
		case len(b)-frameHead < n:
			return nil, b, nil
		default:
			end := frameHead + n
			return b[frameHead:end:end], b[end:], nil
		}
	}
	return nil, b, nil
}

// readRecord reads the next frame into buf, which is as long as the longest.
// io.EOF is an end between frames.
func readRecord(r *bufio.Reader, buf []byte) ([]byte, error) {
	for {
		var head [frameHead]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint32(head[:]))
		switch {
		case n > maxFrame:
			return nil, errLongRecord
		case n == 0:
			continue
		}
		if _, err := io.ReadFull(r, buf[:n]); errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

// A heardReader tells of everything that arrives.
type heardReader struct {
	io.Reader
	heard func()
}

func (r *heardReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.heard()
	}
	return n, err
}
