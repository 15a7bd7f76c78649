package transport

import "sync"

const (
	// firstChunk is what a stream with little to say holds, pageSize what one
	// under load takes more of at a time.
	firstChunk = 8 << 10
	chunkSize  = 64 << 10
)

// chunks are shared by all streams: one that is under load takes them, one that
// has become idle holds none.
//
//nolint:gochecknoglobals // a pool is there to be shared
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A ring holds the bytes of a stream between two positions. It grows by what is
// put into it and shrinks by what is dropped, up to the last small chunk.
type ring struct {
	base, end uint64 // positions of the first byte held and after the last

	first []byte // the small chunk, made on first use
	used  bool   // it is in use, and comes before all the others
	skip  int    // bytes of the first chunk in use that are dropped already
	full  []*[chunkSize]byte
}

func (r *ring) len() int { return int(r.end - r.base) }

// head is the size of the first chunk if it is the small one.
func (r *ring) head() int {
	if r.used {
		return firstChunk
	}
	return 0
}

// span is the memory from offset at of the chunks in use to the end of its
// chunk.
func (r *ring) span(at int) []byte {
	if r.used {
		if at < firstChunk {
			return r.first[at:]
		}
		at -= firstChunk
	}
	return r.full[at/chunkSize][at%chunkSize:]
}

// append adds p at the end.
func (r *ring) append(p []byte) {
	for len(p) > 0 {
		at := r.skip + r.len()
		if at == r.head()+len(r.full)*chunkSize {
			r.grow(len(p))
		}
		n := copy(r.span(r.skip+r.len()), p)
		r.end += uint64(n)
		p = p[n:]
	}
}

// grow adds a chunk. The small one can only be the first.
func (r *ring) grow(need int) {
	if r.base == r.end && len(r.full) == 0 && !r.used && need <= firstChunk {
		if r.first == nil {
			r.first = make([]byte, firstChunk)
		}
		r.used, r.skip = true, 0
		return
	}
	r.full = append(r.full, chunks.Get().(*[chunkSize]byte))
}

// read copies bytes from a position on into p, as many as there are.
func (r *ring) read(p []byte, from uint64) int {
	n := 0
	for n < len(p) && from < r.end {
		at := r.skip + int(from-r.base)
		part := r.span(at)
		part = part[:min(uint64(len(part)), r.end-from)]
		m := copy(p[n:], part)
		n += m
		from += uint64(m)
	}
	return n
}

// drop forgets the bytes before a position.
func (r *ring) drop(to uint64) {
	r.skip += int(to - r.base)
	r.base = to
	if r.base == r.end {
		r.free()
		return
	}
	if r.used && r.skip >= firstChunk {
		r.used = false
		r.skip -= firstChunk
	}
	if r.used {
		return
	}
	done := r.skip / chunkSize
	if done == 0 {
		return
	}
	for _, c := range r.full[:done] {
		chunks.Put(c)
	}
	left := copy(r.full, r.full[done:])
	clear(r.full[left:])
	r.full = r.full[:left]
	r.skip -= done * chunkSize
}

// free gives the memory back of a ring that holds nothing.
func (r *ring) free() {
	for _, c := range r.full {
		chunks.Put(c)
	}
	clear(r.full)
	r.full = r.full[:0]
	if cap(r.full) > 16 {
		r.full = nil
	}
	r.used, r.skip = false, 0
}

// close gives all memory back, and with it what the ring holds.
func (r *ring) close() {
	r.base = r.end
	r.free()
	r.first = nil
}
