package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// FuzzFrame: what parses is what would be written, and aliases nothing but msg.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{})
	for _, kind := range []byte{frameData, frameAck, framePing, framePong, frameFin, frameOptional, 255, 77} {
		f.Add(appendHeader(nil, kind, 1<<40, 1<<63))
		f.Add(append(appendHeader(nil, kind, 0, 0), 1))
	}
	f.Add(newGoAway(goAwayShutdown, 10_000))
	f.Add(newReset(resetProtocol, "text\x00\xff"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		fr, err := parseFrame(msg)
		if err != nil {
			return
		}
		if len(msg) > maxFrame {
			t.Fatalf("a frame of %d bytes", len(msg))
		}
		var again []byte
		switch {
		case fr.kind >= frameOptional:
			return
		case fr.kind == frameGoAway:
			again = newGoAway(fr.code, fr.millis)
		case fr.kind == frameReset:
			again = newReset(fr.code, string(fr.payload))
		default:
			again = append(appendHeader(nil, fr.kind, fr.ack, fr.pos), fr.payload...)
			if fr.kind == frameFin {
				again = append(again, fr.code)
			}
		}
		if !bytes.Equal(again, msg) {
			t.Errorf("%x parsed is %+v, which is %x", msg, fr, again)
		}
	})
}

func FuzzAttach(f *testing.F) {
	a := attach{id: streamID{1, 2, 3}, epoch: 7, received: 1 << 40, consumed: 1 << 39, window: maxWindow}
	a.prove(streamKey{9})
	f.Add(a.bytes())
	f.Add(a.bytes()[:20])
	f.Add((&attach{}).bytes())
	f.Add([]byte{frameAttach, protocolVersion + 1, 0})
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := parseAttach(msg)
		if err != nil {
			return
		}
		if again := a.bytes(); !bytes.Equal(again, msg) {
			t.Errorf("%x parsed is %+v, which is %x", msg, a, again)
		}
		if a.proven(streamKey{1}) && a.proven(streamKey{2}) {
			t.Error("any key proves it")
		}
	})
}

func FuzzAttached(f *testing.F) {
	a := attached{epoch: 7, received: 1, consumed: 1, window: minWindow, rollover: time.Hour, timeout: time.Hour, keep: 24 * time.Hour}
	f.Add(a.bytes())
	a.created, a.id, a.key = true, streamID{1}, streamKey{2}
	f.Add(a.bytes())
	f.Add(a.bytes()[:attachedSize+5])
	for status := range attachRefused + 2 {
		f.Add((&attached{status: status}).bytes())
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := parseAttached(msg)
		if err != nil {
			return
		}
		if a.status != attachOK && a.status.err() == nil {
			t.Errorf("status %d is no error", a.status)
		}
		if again := a.bytes(); !bytes.Equal(again, msg) {
			t.Errorf("%x parsed is %+v, which is %x", msg, a, again)
		}
	})
}

// FuzzRecords: both readers of the HTTP wire find the same frames, however the
// bytes come in pieces.
func FuzzRecords(f *testing.F) {
	f.Add(records("a", "", "bc"), uint8(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 9, 1}, uint8(3))
	f.Add(binary.BigEndian.AppendUint32(nil, maxFrame+1), uint8(2))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		step := int(piece) + 1
		r := bufio.NewReader(&pieces{bytes.NewReader(b), step})
		buf := make([]byte, maxFrame)
		rest := b
		for {
			want, after, err := splitRecord(rest)
			got, readErr := readRecord(r, buf)
			switch {
			case err != nil:
				var protocol *protocolError
				if !errors.As(readErr, &protocol) {
					t.Fatalf("one reader says %v, the other %v", err, readErr)
				}
				return
			case want == nil:
				if readErr == nil || len(after) == 0 != errors.Is(readErr, io.EOF) {
					t.Fatalf("%d bytes left, and the other reader says %v", len(after), readErr)
				}
				return
			case readErr != nil || !bytes.Equal(got, want) || len(want) > maxFrame:
				t.Fatalf("one reader finds %x, the other %x, %v", want, got, readErr)
			}
			rest = after
		}
	})
}

type pieces struct {
	io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.size)]) }

// FuzzHTTPRequests: whatever the requests of a connection hold, and in whatever
// order they come, the frames that come out are those that went in.
func FuzzHTTPRequests(f *testing.F) {
	f.Add([]byte("0a1b2c"), records("first"))
	f.Add([]byte("1a0b"), records("x", "y"))
	f.Add([]byte("00119"), []byte{0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, order, body []byte) {
		if len(order) > 12 || len(body) > 4096 {
			return
		}
		c := newHTTPConn(testID, "", func(*httpConn) {})
		defer c.close()
		for _, o := range order {
			sequence := uint64(o % maxPosts) // more would rightly wait
			cut := len(body) * int(o>>4) / 8
			if cut < len(body) {
				c.receive(sequence, io.MultiReader(bytes.NewReader(body[:cut]), &brokenReader{}), -1)
			} else {
				c.receive(sequence, bytes.NewReader(body), int64(len(body)))
			}
		}
		var want, got []byte
		for next := uint64(0); ; next++ { // what is complete from the start on
			if b := c.bodies[next]; b == nil || !b.complete {
				break
			}
			want = append(want, body...)
		}
		for rest := want; len(rest) > 0; {
			frame, after, err := splitRecord(rest)
			if frame == nil || err != nil {
				break
			}
			rest = after
			read, err := c.read()
			if err != nil {
				return // a record may not run on into the next body
			}
			got = appendRecord(got, read)
			if !bytes.Equal(read, frame) {
				t.Fatalf("read %x, want %x", read, frame)
			}
		}
	})
}

// FuzzPrincipal: a token of any form gives an address or none.
func FuzzPrincipal(f *testing.F) {
	f.Add("Bearer e30."+base64URL(`{"email":"a@x"}`)+".x", "")
	f.Add("Bearer a.b", "Basic x")
	f.Add("bearer "+"..", "Bearer ...")
	f.Fuzz(func(t *testing.T, serverless, authorization string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header["X-Serverless-Authorization"] = []string{serverless}
		r.Header["Authorization"] = []string{authorization}
		principalOf(r.Header)
	})
}

// FuzzLink feeds an attached stream any frames: it ends or goes on, and what it
// delivers is never more than what was sent.
func FuzzLink(f *testing.F) {
	f.Add(records(string(append(appendHeader(nil, frameData, 0, 0), "abc"...)), string(appendHeader(nil, framePing, 0, 9))))
	f.Add(records(string(appendHeader(nil, frameAck, 1<<60, 0))))
	f.Add(records(string(append(appendHeader(nil, frameFin, 0, 0), finHangup))))
	f.Add(records(string(newGoAway(goAwayShutdown, 1)), string(newReset(resetDone, "")), "\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStream(addr("a"), addr("b"))
		w := &fedWire{rest: b}
		s.mu.Lock()
		l := newLink(s, w)
		s.mu.Unlock()
		l.run()
		if got := s.in.len(); got > len(b) {
			t.Errorf("%d bytes out of %d", got, len(b))
		}
		s.Abort()
	})
}

// A fedWire is a wire with frames that are given.
type fedWire struct{ rest []byte }

func (w *fedWire) read() ([]byte, error) {
	frame, rest, err := splitRecord(w.rest)
	w.rest = rest
	if frame == nil && err == nil {
		err = io.EOF
	}
	return frame, err
}

func (w *fedWire) write(...[]byte) error { return nil }
func (w *fedWire) close() error          { return nil }
func (w *fedWire) name() string          { return "fed" }
