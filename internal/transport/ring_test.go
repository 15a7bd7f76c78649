package transport

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A ring and an inbox hold what a plain slice would, whatever is put in and
// taken out in whatever pieces.
func TestRing(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
		var r ring
		for r.end < uint64(len(data)) {
			n := min(size(rnd), len(data)-int(r.end))
			r.append(data[r.end : r.end+uint64(n)])
			for range rnd.IntN(3) {
				from := r.base + rnd.Uint64N(r.end-r.base+1)
				p := make([]byte, size(rnd))
				n := r.read(p, from)
				if want := data[from:min(int(from)+len(p), int(r.end))]; !bytes.Equal(p[:n], want) {
					t.Fatalf("seed %d: %d bytes at %d are not what was put in", seed, n, from)
				}
			}
			if rnd.IntN(2) == 0 {
				r.drop(r.base + rnd.Uint64N(r.end-r.base+1))
			}
		}
		if most := r.len()/chunkSize + 3; len(r.full) > most {
			t.Errorf("seed %d: %d chunks for %d bytes", seed, len(r.full), r.len())
		}
		r.drop(r.end)
		if len(r.full) != 0 || r.used {
			t.Errorf("seed %d: an empty ring holds %d chunks", seed, len(r.full))
		}
	}
}

func TestInbox(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
		var b inbox
		for b.base < uint64(len(data)) {
			if n := min(size(rnd), maxPayload, len(data)-int(b.end)); n > 0 && rnd.IntN(2) == 0 {
				frame := frames.Get().(*[maxFrame]byte)
				p := frame[headerSize : headerSize+copy(frame[headerSize:], data[b.end:b.end+uint64(n)])]
				kept := false
				b.add(p, func() *[maxFrame]byte { kept = true; return frame })
				if !kept {
					clear(frame[:])
					frames.Put(frame)
				}
			}
			p := make([]byte, size(rnd))
			from := b.base
			n := b.read(p)
			if !bytes.Equal(p[:n], data[from:from+uint64(n)]) || b.base != from+uint64(n) {
				t.Fatalf("seed %d: %d bytes at %d are not what was put in", seed, n, from)
			}
		}
		if len(b.parts) != 0 || b.lent {
			t.Errorf("seed %d: an empty inbox holds %d parts", seed, len(b.parts))
		}
	}
}
