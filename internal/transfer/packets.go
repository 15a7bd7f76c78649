package transfer

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
)

// packets is the stream to a server as the library uses it, in fewer and larger
// pieces: each of them costs a packet of SSH, and a read even one of its own,
// which gives the server its window back.
type packets struct {
	stream io.ReadWriteCloser
	reader *bufio.Reader
	ready  []byte // of a listing that was looked at, what is still to be read
	body   int64  // of any other packet, the same

	mu       sync.Mutex
	listings map[uint32]bool // requests whose answers are listings

	rest  int64  // of a packet whose head was written, what is still to come
	begun []byte // that head, if it waits for the rest
}

const (
	// readSize is what is read ahead of the library's small reads.
	readSize = 64 << 10
	// joined is the size up to which head and body of a packet are sent in one
	// piece: SSH packets hold no more.
	joined = 32 << 10
)

func newPackets(stream io.ReadWriteCloser) *packets {
	return &packets{stream: stream, reader: bufio.NewReaderSize(stream, readSize), listings: map[uint32]bool{}}
}

// Types of packets (draft-ietf-secsh-filexfer-02, section 3).
const (
	typeReadDir = 12
	typeName    = 104
)

// headSize is the length of a packet's length, type and number.
const headSize = 4 + 1 + 4

// maxListing bounds an answer, as the library does.
const maxListing = 256 << 10

// Read passes packets on. The names in a listing it looks at: of one with a
// slash the library would show only what stands behind it.
func (p *packets) Read(b []byte) (int, error) {
	if len(p.ready) == 0 && p.body == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	if len(p.ready) > 0 {
		n := copy(b, p.ready)
		p.ready = p.ready[n:]
		return n, nil
	}
	if int64(len(b)) > p.body {
		b = b[:p.body]
	}
	n, err := p.reader.Read(b)
	p.body -= int64(n)
	return n, err
}

// next looks at the head of a packet.
func (p *packets) next() error {
	head, err := p.reader.Peek(4)
	if err != nil {
		return err
	}
	whole := int64(binary.BigEndian.Uint32(head)) + 4
	p.body = whole
	if whole < headSize || whole > maxListing {
		return nil // none of ours; the library refuses what is too long
	}
	if head, err = p.reader.Peek(headSize); err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(head[5:])
	p.mu.Lock()
	listing := p.listings[id]
	delete(p.listings, id)
	p.mu.Unlock()
	if !listing || head[4] != typeName {
		return nil
	}
	p.ready, p.body = make([]byte, whole), 0
	if _, err := io.ReadFull(p.reader, p.ready); err != nil {
		return err
	}
	markSlashes(p.ready[headSize:])
	return nil
}

// markSlashes puts a NUL for every slash in the names of a listing, which no
// name may have either: so they are seen, and refused.
func markSlashes(b []byte) {
	text := func() ([]byte, bool) {
		if len(b) < 4 {
			return nil, false
		}
		n := int64(binary.BigEndian.Uint32(b))
		if n > int64(len(b))-4 {
			return nil, false
		}
		s := b[4 : 4+n]
		b = b[4+n:]
		return s, true
	}
	if len(b) < 4 {
		return
	}
	count := binary.BigEndian.Uint32(b)
	b = b[4:]
	for range count {
		name, ok := text()
		if !ok {
			return
		}
		for i := range name {
			if name[i] == '/' {
				name[i] = 0
			}
		}
		if _, ok := text(); !ok || !skipAttributes(&b) {
			return
		}
	}
}

// skipAttributes drops a file's attributes (section 5).
func skipAttributes(b *[]byte) bool {
	drop := func(n int64) bool {
		if n > int64(len(*b)) {
			return false
		}
		*b = (*b)[n:]
		return true
	}
	number := func() (uint32, bool) {
		if len(*b) < 4 {
			return 0, false
		}
		n := binary.BigEndian.Uint32(*b)
		return n, drop(4)
	}
	flags, ok := number()
	if !ok {
		return false
	}
	for bit, size := range map[uint32]int64{1: 8, 2: 8, 4: 4, 8: 8} { // size, owner, permissions, times
		if flags&bit != 0 && !drop(size) {
			return false
		}
	}
	if flags&(1<<31) == 0 {
		return true
	}
	pairs, ok := number()
	for range 2 * int64(pairs) {
		n, more := number()
		if !ok || !more || !drop(int64(n)) {
			return false
		}
	}
	return ok
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
	if len(b) >= headSize && b[4] == typeReadDir {
		p.mu.Lock()
		p.listings[binary.BigEndian.Uint32(b[5:])] = true
		p.mu.Unlock()
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
