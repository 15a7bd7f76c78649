//go:build linux || darwin

package sftp

import (
	"io"
	"sync"
)

// An output sends replies. Whoever finds nobody sending sends, until nothing
// is left: no goroutine of its own, and small replies that gathered meanwhile
// go out in one piece.
type output struct {
	w       io.Writer
	buffers *buffers

	mu      sync.Mutex
	queue   []sending
	spare   []sending
	sending bool
	err     error
}

type sending struct {
	message []byte
	sent    func()
}

// gather is up to how many bytes of replies become one write: an SSH packet.
const gather = 32 << 10

// add queues a message and reports whether somebody is sending already.
func (o *output) add(message []byte, sent func()) (busy bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, sending{message, sent})
	return o.sending
}

// failure is why nothing can be sent any more.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// How much flush sends.
const (
	someReplies = false
	allReplies  = true
)

// flush sends what is queued, and then, if all is set, what has been queued
// meanwhile, unless somebody else sends. It reports whether the caller must
// flush again: then nobody does.
func (o *output) flush(all bool) (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sending {
		return false
	}
	o.sending = true
	for first := true; len(o.queue) > 0 && (first || all); first = false {
		batch, err := o.queue, o.err
		o.queue = o.spare[:0]
		o.mu.Unlock()
		if err == nil {
			err = o.send(batch)
		}
		for i, s := range batch {
			o.buffers.put(s.message)
			s.sent()
			batch[i] = sending{}
		}
		o.mu.Lock()
		o.spare, o.err = batch, err
	}
	o.sending = false
	return len(o.queue) > 0
}

// send writes messages, neighbours in one piece as far as they are small.
func (o *output) send(batch []sending) error {
	for len(batch) > 0 {
		n, size := 1, len(batch[0].message)
		for n < len(batch) && size+len(batch[n].message) <= gather {
			size += len(batch[n].message)
			n++
		}
		piece := batch[0].message
		if n > 1 {
			piece = o.buffers.get(gather)[:0]
			for _, s := range batch[:n] {
				piece = append(piece, s.message...)
			}
		}
		_, err := o.w.Write(piece)
		if n > 1 {
			o.buffers.put(piece)
		}
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}
