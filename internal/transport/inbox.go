package transport

// keepPayload is how long a payload must be for its frame's buffer to be kept
// until it is read. Shorter ones are copied, so that what waits to be read takes
// no more than twice its size.
const keepPayload = 32 << 10

// An inbox holds the bytes of a stream that came and are not read yet.
type inbox struct {
	base, end uint64 // positions of the first byte held and after the last

	parts []part
	small []byte // memory for little, made on first use and kept
	lent  bool   // it is the first part's
}

// A part is a piece of the stream in memory of its own.
type part struct {
	data  []byte
	frame *[maxFrame]byte // that it is in, to go back to the pool; nil: small
}

func (b *inbox) len() int { return int(b.end - b.base) }

// add appends p. If p is in a frame that may be kept, keep gives it away.
func (b *inbox) add(p []byte, keep func() *[maxFrame]byte) {
	b.end += uint64(len(p))
	if len(p) >= keepPayload && keep != nil {
		b.parts = append(b.parts, part{p, keep()})
		return
	}
	if n := len(b.parts); n > 0 { // room after the last part is ours
		last := &b.parts[n-1]
		m := min(len(p), cap(last.data)-len(last.data))
		last.data = append(last.data, p[:m]...)
		p = p[m:]
	}
	if len(p) > 0 {
		next := b.room(len(p))
		next.data = append(next.data, p...)
		b.parts = append(b.parts, next)
	}
}

// room is an empty part for at least n bytes, of which there is at most one frame.
func (b *inbox) room(n int) part {
	if len(b.parts) == 0 && !b.lent && n <= firstChunk {
		if b.small == nil {
			b.small = make([]byte, 0, firstChunk)
		}
		b.lent = true
		return part{data: b.small[:0]}
	}
	frame := frames.Get().(*[maxFrame]byte)
	return part{frame[:0], frame}
}

// read moves bytes into p, as many as there are.
func (b *inbox) read(p []byte) int {
	n := 0
	for n < len(p) && len(b.parts) > 0 {
		first := &b.parts[0]
		m := copy(p[n:], first.data)
		n += m
		if first.data = first.data[m:]; len(first.data) == 0 {
			b.drop()
		}
	}
	b.base += uint64(n)
	return n
}

// drop forgets the first part.
func (b *inbox) drop() {
	if frame := b.parts[0].frame; frame != nil {
		frames.Put(frame)
	} else {
		b.lent = false
	}
	n := copy(b.parts, b.parts[1:])
	b.parts[n] = part{}
	if b.parts = b.parts[:n]; n == 0 && cap(b.parts) > 16 {
		b.parts = nil
	}
}

// clear forgets all bytes.
func (b *inbox) clear() {
	for len(b.parts) > 0 {
		b.drop()
	}
	b.base = b.end
}
