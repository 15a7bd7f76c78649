package transport

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// used is what the heap and the stacks hold, after a collection. It may become
// less for reasons of other tests, which leave things that end a little later.
func used() int64 {
	runtime.GC()
	runtime.GC() // empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// An idle stream holds little at both ends together, goroutines, HTTP client and
// server included, and one that has carried much goes back to that.
func TestMemory(t *testing.T) {
	const streams, most = 40, 768 << 10
	l, e := serve(t, false)
	pair(t, l, e)
	before := used()
	var ends []net.Conn
	for range streams {
		client, server := pair(t, l, e)
		go io.Copy(server, server)
		client.Write([]byte("x"))
		io.ReadFull(client, make([]byte, 1))
		ends = append(ends, client, server)
	}
	each := (used() - before) / streams
	t.Logf("%d KiB for each idle stream, both ends", each>>10)
	if each > most {
		t.Errorf("an idle stream holds %d KiB", each>>10)
	}
	for i := 0; i < len(ends); i += 20 {
		go ends[i].Write(make([]byte, 4<<20))
		if _, err := io.ReadFull(ends[i], make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if after := used(); after > before+streams*most {
		t.Errorf("after transfers %d KiB more are held", (after-before-streams*each)>>10)
	}
	runtime.KeepAlive(ends)
}
