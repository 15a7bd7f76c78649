package transport

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestParseFrame(t *testing.T) {
	data := append(appendHeader(nil, frameData, 1, 2), "abc"...)
	if f, err := parseFrame(data); err != nil || f.ack != 1 || f.pos != 2 || string(f.payload) != "abc" {
		t.Errorf("DATA came back as %+v, %v", f, err)
	}
	if f, err := parseFrame(newGoAway(goAwayShutdown, 77)); err != nil || f.code != goAwayShutdown || f.millis != 77 {
		t.Errorf("GOAWAY came back as %+v, %v", f, err)
	}
	if f, err := parseFrame(newReset(resetAborted, strings.Repeat("x", 1000))); err != nil || f.code != resetAborted || len(f.payload) != maxResetText {
		t.Errorf("RESET came back as %+v, %v", f, err)
	}
	for name, tt := range map[string]struct {
		msg  []byte
		want string // in the error; "" means none
	}{
		"empty":           {nil, "empty"},
		"unknown":         {[]byte{99}, "unknown frame type 99"},
		"attach":          {(&attach{}).bytes(), "unknown frame type 1"},
		"to come":         {[]byte{200, 1, 2, 3}, ""},
		"short data":      {data[:headerSize-1], "cut short"},
		"empty data":      {data[:headerSize], ""},
		"full data":       {appendHeader(make([]byte, 0, maxFrame), frameData, 0, 0)[:maxFrame], ""},
		"too long":        {append(data, make([]byte, maxFrame)...), "more than"},
		"ack and more":    {append(appendHeader(nil, frameAck, 0, 0), 1), "too long"},
		"FIN without how": {appendHeader(nil, frameFin, 0, 0), "cut short"},
		"FIN":             {append(appendHeader(nil, frameFin, 0, 0), finHangup), ""},
		"FIN and more":    {append(appendHeader(nil, frameFin, 0, 0), 1, 2), "cut short"},
		"RESET":           {[]byte{frameReset}, "cut short"},
		"GOAWAY":          {[]byte{frameGoAway, 0, 1}, "cut short"},
	} {
		_, err := parseFrame(tt.msg)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// attachRaw attaches by hand: a zero id opens a stream.
func attachRaw(t *testing.T, e Endpoint, a attach) (*wsWire, attached, error) {
	t.Helper()
	w, _, err := e.openWebSocket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close() })
	answer, err := exchange(t.Context(), w, a)
	return w.(*wsWire), answer, err
}

// Nonsense ends a wire. The stream survives it once, but not twice in a row.
func TestBadFrames(t *testing.T) {
	position := append(appendHeader(nil, frameData, 0, 5), 'x')
	for name, tt := range map[string]struct {
		kind websocket.MessageType
		msg  []byte
	}{
		"empty":    {websocket.MessageBinary, nil},
		"unknown":  {websocket.MessageBinary, []byte{99}},
		"text":     {websocket.MessageText, position},
		"position": {websocket.MessageBinary, position},
		"long":     {websocket.MessageBinary, make([]byte, maxFrame+1)},
		"longer":   {websocket.MessageBinary, make([]byte, 1<<20)},
		"FIN":      {websocket.MessageBinary, append(appendHeader(nil, frameFin, 0, 9), 0)},
		"attach":   {websocket.MessageBinary, (&attach{}).bytes()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, l, e := network(t)
				w, answer, err := attachRaw(t, e, attach{epoch: 1, window: maxWindow})
				if err != nil {
					t.Fatal(err)
				}
				server, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				w.ws.Write(t.Context(), tt.kind, tt.msg)
				synctest.Wait()
				if _, lost := server.(*Conn).Detached(); !lost {
					t.Fatal("the wire was not ended")
				}
				a := attach{id: answer.id, epoch: 2, window: maxWindow}
				a.prove(answer.key)
				if w, _, err = attachRaw(t, e, a); err != nil {
					t.Fatalf("resuming after it: %v", err)
				}
				w.ws.Write(t.Context(), tt.kind, tt.msg)
				var final *FinalError
				if _, err := io.ReadAll(server); !errors.As(err, &final) || final.Reason != Reset {
					t.Errorf("after the second time: %v", err)
				}
				a.epoch = 3
				a.prove(answer.key)
				if _, _, err = attachRaw(t, e, a); !errors.As(err, &final) || final.Reason != UnknownStream {
					t.Errorf("resuming after the second time: %v", err)
				}
			})
		})
	}
}

// Impossible acknowledgements end the stream at once.
func TestImpossibleAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		w, _, err := attachRaw(t, e, attach{epoch: 1, window: maxWindow})
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.write(appendHeader(nil, frameAck, 1, 0))
		var final *FinalError
		if _, err := io.ReadAll(server); !errors.As(err, &final) || final.Reason != OutOfRange {
			t.Errorf("the stream ended with %v", err)
		}
		for { // a PING comes first
			msg, err := w.read()
			if err != nil {
				t.Fatal(err)
			}
			if f, err := parseFrame(msg); err == nil && f.kind == frameReset && f.code == resetRange {
				return
			}
		}
	})
}

// A peer that breaks the protocol and reads nothing cannot be told why. The
// last word waits behind data that never leaves: the wire must be cut.
func TestBadFrameFromDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		w, _, err := attachRaw(t, e, attach{epoch: 1, window: maxWindow})
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		link := server.(*Conn).link
		go server.Write(make([]byte, 4*maxPayload))
		synctest.Wait()
		start := time.Now()
		w.write(appendHeader(nil, frameAck, 1<<40, 0))
		var final *FinalError
		if _, err := io.ReadAll(server); !errors.As(err, &final) {
			t.Errorf("server read: %v", err)
		}
		<-link.done
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("the link ended after %s", took)
		}
	})
}

// What is no attach gets no stream.
func TestBadAttach(t *testing.T) {
	good := (&attach{epoch: 1, window: maxWindow}).bytes()
	other := append([]byte(nil), good...)
	other[1]++
	for name, msg := range map[string][]byte{
		"empty": nil, "short": good[:len(good)-1], "long": append(good, 0), "another protocol": other, "data": appendHeader(nil, frameData, 0, 0),
	} {
		synctest.Test(t, func(t *testing.T) {
			_, l, e := network(t)
			w, _, err := e.openWebSocket(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			w.write(msg)
			answer, err := w.read()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if a, err := parseAttached(answer); err != nil || a.status != attachVersion {
				t.Errorf("%s: answer %+v, %v", name, a, err)
			}
			if got := len(l.streams.all()); got != 0 {
				t.Errorf("%s: %d streams", name, got)
			}
		})
	}
}
