//go:build linux || darwin

package sftp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a session. The sizes are OpenSSH's, which clients know.
const (
	maxPacket  = 256 << 10        // of a request or a reply, without its length
	maxData    = maxPacket - 1024 // of one read or write
	readBuffer = 64 << 10         // of requests; longer ones are read past it
)

// Options say whose files are served.
type Options struct {
	Dir    string       // absolute; where relative paths start
	Home   string       // what a leading ~ stands for; Dir if empty
	Logger *slog.Logger // nil: none
}

// A server serves one session.
type server struct {
	dir, home string
	in        *bufio.Reader
	out       *output
	buffers   buffers
	handles   handles
	accounts  accounts
	schedule  *schedule
	greeted   bool        // INIT came; only the reading goroutine looks
	apart     int         // how many requests not to run in the reading goroutine
	gone      atomic.Bool // nobody asks any more
}

// Serve answers requests from rw until its end of file, and returns nil then,
// once what was asked is done and all files are closed. It does not close rw.
// Any other error ends the session, as do one of writing, and a packet longer
// than the limit; requests that were complete by then are carried out.
func Serve(rw io.ReadWriter, o Options) error {
	s := &server{
		dir: o.Dir, home: o.Home,
		in: bufio.NewReaderSize(rw, readBuffer),
	}
	if s.home == "" {
		s.home = s.dir
	}
	s.out = &output{w: rw, buffers: &s.buffers}
	s.schedule = newSchedule()
	s.handles.limit = handleLimit()
	err := s.serve()
	s.gone.Store(true)
	s.schedule.wait()
	left := s.handles.closeAll()
	if o.Logger != nil && left > 0 {
		o.Logger.Info("sftp", "reason", "the client left files open", "files", left)
	}
	return err
}

// serve reads requests until the end.
func (s *server) serve() error {
	for {
		kind, body, err := s.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		if err := s.out.failure(); err != nil {
			return err
		}
		if err := s.accept(kind, body); err != nil {
			return err
		}
	}
}

// read reads a request: its type, and the rest in a buffer of the pool. The
// error is io.EOF only between requests.
func (s *server) read() (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(s.in, head[:4]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 1 || length > maxPacket {
		return 0, nil, fmt.Errorf("a packet of %d bytes: 1 to %d are allowed", length, maxPacket)
	}
	if _, err := io.ReadFull(s.in, head[4:]); err != nil {
		return 0, nil, cut(err)
	}
	body := s.buffers.get(int(length) - 1)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return 0, nil, cut(err)
	}
	return head[4], body, nil
}

// cut makes the end of the stream inside a packet an error.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// accept starts what a packet asks for, or makes it wait its turn.
func (s *server) accept(kind byte, body []byte) error {
	p := &parser{rest: body}
	if kind == fxpInit {
		s.greet(p)
		s.buffers.put(body)
		return p.err
	}
	if !s.greeted {
		return fmt.Errorf("a request of type %d before the first packet", kind)
	}
	id := p.uint32()
	if p.err != nil {
		return fmt.Errorf("a request of type %d without a number", kind)
	}
	j := s.understand(kind, p)
	if p.err != nil {
		j = job{run: refuse(p.err)}
	}
	j.id, j.body = id, body
	if s.schedule.add(&j) {
		s.start(&j)
	}
	return nil
}

// What runs in the reading goroutine itself saves two changes of goroutine, a
// good part of what a small request costs. But once one took long, the next
// many may not: the files are on a network then.
const (
	long = 2 * time.Millisecond
	many = 256
)

// start carries out a job, in this goroutine if no other request is kept
// waiting by that.
func (s *server) start(j *job) {
	if s.apart = max(0, s.apart-1); j.order != barrier && (s.apart > 0 || s.in.Buffered() > 0) {
		go s.work(j)
		return
	}
	begun := time.Now()
	s.work(j)
	if time.Since(begun) > long {
		s.apart = many
	}
}

// refuse is a request that only fails.
func refuse(err error) func(*message) error {
	return func(*message) error { return err }
}

// work carries out a job, and those that waited for it.
func (s *server) work(j *job) {
	for j != nil {
		m := &message{buf: s.buffers.get(smallBuffer)[:0]}
		m.begin(fxpStatus, j.id)
		begun := time.Now()
		if err := j.run(m); err != nil {
			m.begin(fxpStatus, j.id)
			m.status(err)
		} else if m.buf[4] == fxpStatus {
			m.status(nil)
		}
		s.buffers.put(j.body)
		weight := j.weight
		slow := time.Since(begun) > long
		// In this order: replies about one file leave in the order of the
		// requests, and the next request need not wait for this reply.
		busy := s.out.add(m.finish(), func() { s.schedule.sent(weight) })
		next := s.schedule.done(j)
		for len(next) > 1 {
			go s.work(next[1])
			next = append(next[:1], next[2:]...)
		}
		if j = nil; len(next) > 0 {
			j = next[0]
		}
		if busy && j != nil {
			continue
		}
		// Reading on while this reply is sent pays for slow files only, and for
		// replies of others that came in between.
		if j != nil && (slow || s.out.flush(someReplies)) {
			go s.work(j)
			j = nil
		}
		if j == nil {
			s.out.flush(allReplies)
		}
	}
}

// buffers is where requests and replies of a session live, in two sizes besides
// small ones. What is not used goes back with the next garbage collection.
type buffers struct {
	usual sync.Pool // most clients send and ask for 32 KiB
	large sync.Pool
}

const (
	smallBuffer = 256
	usualBuffer = 34 << 10
	largeBuffer = maxPacket + 4
)

func (b *buffers) get(n int) []byte {
	pool, size := &b.large, largeBuffer
	switch {
	case n <= usualBuffer/8:
		return make([]byte, n)
	case n <= usualBuffer:
		pool, size = &b.usual, usualBuffer
	}
	if buf, ok := pool.Get().(*[]byte); ok {
		return (*buf)[:n]
	}
	return make([]byte, n, size)
}

func (b *buffers) put(buf []byte) {
	switch buf = buf[:0]; cap(buf) {
	case usualBuffer:
		b.usual.Put(&buf)
	case largeBuffer:
		b.large.Put(&buf)
	}
}
