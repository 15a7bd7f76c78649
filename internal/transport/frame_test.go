package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// rawDial is a client that speaks WebSocket but not our frames.
func rawDial(t *testing.T, e Endpoint) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), e.URL+StreamPath, &websocket.DialOptions{
		HTTPClient:   e.Client,
		Subprotocols: []string{Subprotocol},
		HTTPHeader:   http.Header{VersionHeader: {testVersion}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

func TestBadFrames(t *testing.T) {
	l, e := serve(t, false)
	for name, tt := range map[string]struct {
		kind websocket.MessageType
		msg  []byte
		code websocket.StatusCode
		want string
	}{
		"empty":     {websocket.MessageBinary, nil, websocket.StatusProtocolError, "empty frame"},
		"unknown":   {websocket.MessageBinary, []byte{99, 1}, websocket.StatusProtocolError, "unknown frame type 99"},
		"too long":  {websocket.MessageBinary, make([]byte, maxPayload+2), websocket.StatusProtocolError, "more than 65536"},
		"very long": {websocket.MessageBinary, make([]byte, 1<<20), websocket.StatusMessageTooBig, "more than 65536"},
		"text":      {websocket.MessageText, []byte{frameData, 1}, websocket.StatusProtocolError, "text message"},
	} {
		t.Run(name, func(t *testing.T) {
			ws := rawDial(t, e)
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if name == "too long" {
				tt.msg[0] = frameData
			}
			ws.Write(t.Context(), tt.kind, tt.msg)
			_, err = io.ReadAll(server)
			var broken *BrokenError
			if !errors.As(err, &broken) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("server read: %v, want a BrokenError with %q", err, tt.want)
			}
			_, _, err = ws.Read(t.Context())
			if got := websocket.CloseStatus(err); got != tt.code && tt.code != websocket.StatusMessageTooBig {
				t.Errorf("client was told %v, want %v", err, tt.code)
			}
		})
	}
}

// A peer that breaks the protocol and reads nothing cannot be told why. The
// farewell waits behind data that never leaves: the connection must be cut.
func TestBadFrameFromDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, e := network(t)
		ws := rawDial(t, e)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go server.Write(make([]byte, 4*maxPayload))
		synctest.Wait()
		start := time.Now()
		ws.Write(t.Context(), websocket.MessageBinary, []byte{99})
		var broken *BrokenError
		if _, err := io.ReadAll(server); !errors.As(err, &broken) {
			t.Errorf("server read: %v, want a BrokenError", err)
		}
		server.Close()
		<-server.(*Conn).link.done
		if took := time.Since(start); took > closeTimeout {
			t.Errorf("the link ended after %s", took)
		}
	})
}

func TestFramesToComeAreIgnored(t *testing.T) {
	l, e := serve(t, false)
	ws := rawDial(t, e)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, msg := range [][]byte{{128}, {255, 1, 2}, {framePong}, {frameData}, {frameData, 'x'}} {
		if err := ws.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 8)
	if n, err := server.Read(buf); err != nil || string(buf[:n]) != "x" {
		t.Errorf("Read = %q, %v", buf[:n], err)
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte{framePing}); err != nil {
		t.Fatal(err)
	}
	if _, msg, err := ws.Read(t.Context()); err != nil || !bytes.Equal(msg, []byte{framePong}) {
		t.Errorf("answer to a PING = %v, %v", msg, err)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, seed := range [][]byte{
		nil,
		{frameData},
		{framePing},
		{framePong, 0},
		{0},
		{4, 4},
		{127},
		{128},
		{255, 255},
		append([]byte{frameData}, "SSH-2.0-cloudssh\r\n"...),
		make([]byte, readLimit),
		append([]byte{frameData}, make([]byte, maxPayload+1)...),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		kind, payload, err := parseFrame(msg)
		if err != nil {
			if payload != nil || len(msg) > 0 && len(msg) <= 1+maxPayload && msg[0] >= frameOptional {
				t.Errorf("parseFrame(%.20x) = %x, %v", msg, payload, err)
			}
			return
		}
		if !bytes.Equal(append([]byte{kind}, payload...), msg) || len(payload) > maxPayload {
			t.Errorf("parseFrame(%.20x) = %d, %.20x", msg, kind, payload)
		}
	})
}
