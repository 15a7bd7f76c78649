package transfer

import (
	"bufio"
	"encoding/binary"
	"io"
)

// packets is the stream to a server as the library uses it, in fewer and larger
// pieces: each of them costs a packet of SSH, and a read even one of its own,
// which gives the server its window back.
type packets struct {
	io.Reader
	stream io.WriteCloser
	rest   int64  // of a packet whose head was written, what is still to come
	begun  []byte // that head, if it waits for the rest
}

const (
	// readSize is what is read ahead of the library's small reads.
	readSize = 64 << 10
	// joined is the size up to which head and body of a packet are sent in one
	// piece: SSH packets hold no more.
	joined = 32 << 10
)

func newPackets(stream io.ReadWriteCloser) *packets {
	return &packets{Reader: bufio.NewReaderSize(stream, readSize), stream: stream}
}

// Write is called by one goroutine at a time, with a packet, or with its head
// and then its body.
func (p *packets) Write(b []byte) (int, error) {
	if p.rest > 0 {
		p.rest = 0
		if len(p.begun) == 0 {
			return p.stream.Write(b)
		}
		before := len(p.begun)
		p.begun = append(p.begun, b...)
		n, err := p.stream.Write(p.begun)
		p.begun = p.begun[:0]
		return max(n-before, 0), err
	}
	if len(b) >= 4 {
		whole := int64(binary.BigEndian.Uint32(b)) + 4
		p.rest = max(whole-int64(len(b)), 0)
		if p.rest > 0 && whole <= joined {
			p.begun = append(p.begun, b...)
			return len(b), nil
		}
	}
	return p.stream.Write(b)
}

func (p *packets) Close() error { return p.stream.Close() }
