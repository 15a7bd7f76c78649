package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// attachRaw attaches by hand.
func (n *frameNet) attachRaw(t *testing.T, a attach) (attached, wire) {
	t.Helper()
	w, _, err := n.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(a.bytes()); err != nil {
		t.Fatal(err)
	}
	msg, err := w.read()
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	answer, err := parseAttached(msg)
	if err != nil {
		t.Fatal(err)
	}
	return answer, w
}

// OpenSSH CVE-2016-0777: a peer's positions are checked before a byte is sent.
func TestResumePositionsAreNotTrusted(t *testing.T) {
	for name, claim := range map[string]struct{ received, consumed uint64 }{
		"received ahead":           {1 << 40, 5},
		"received one ahead":       {1002, 5}, // the end counts as one, nothing after it
		"consumed ahead":           {5, 10},
		"consumed behind the acks": {900, 1},
		"all ones":                 {1<<64 - 1, 1<<64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFrameNet(testConfig())
				client, server := n.connect(t, n.endpoint())
				server.Write(soakText[:1000])
				receives(t, client, 0, 900)
				pass(time.Second)
				synctest.Wait()
				a := attach{id: client.keeper.id, epoch: 50, received: claim.received, consumed: claim.consumed, window: maxWindow}
				a.prove(client.keeper.key)
				answer, w := n.attachRaw(t, a)
				if answer.status != attachRange {
					t.Errorf("status %d", answer.status)
				}
				for { // and nothing of the stream comes after the answer
					frame, err := w.read()
					if err != nil {
						break
					}
					if frame[0] == frameData {
						t.Errorf("%d bytes were sent", len(frame))
					}
				}
			})
		})
	}
}

// Teleport pins the client's address: then Wi-Fi to LTE is the end. And what a
// stream's key is for: a wrong one, another stream's, and another account.
func TestWhoMayResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		other, otherServer := soakDial(t, n.l, n.endpoint())
		defer other.Abort()
		defer otherServer.Abort()
		n.mu.Lock()
		n.from = "[2001:db8::9]:9"
		n.mu.Unlock()
		for i, key := range []streamKey{{}, other.keeper.key} {
			a := attach{id: client.keeper.id, epoch: 50 + uint32(i), window: maxWindow}
			a.prove(key)
			if answer, _ := n.attachRaw(t, a); answer.status != attachProof || answer.created {
				t.Errorf("with key %d: %+v", i, answer)
			}
		}
		a := attach{id: streamID{1}, epoch: 2}
		if answer, _ := n.attachRaw(t, a); answer.status != attachUnknown {
			t.Errorf("unknown stream: %+v", answer)
		}
		// The proof of one attempt is none for another.
		a = attach{id: client.keeper.id, epoch: 50, window: maxWindow}
		a.prove(client.keeper.key)
		a.epoch = 51
		if answer, _ := n.attachRaw(t, a); answer.status != attachProof {
			t.Errorf("a proof used for another epoch: %+v", answer)
		}
		n.cut(false) // and the stream comes back from the new address
		go server.Write(soakText[:1000])
		receives(t, client, 0, 1000)
		if got := client.Stats().Resumes; got != 1 {
			t.Errorf("%d resumptions", got)
		}
	})
}

// Frames that make no sense end the wire, once; the stream, when they come
// again and again.
func TestSenselessFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"unknown":        {77},
		"empty":          {},
		"short":          {frameData, 1},
		"too long":       append(appendHeader(nil, frameData, 0, 0), make([]byte, maxPayload+1)...),
		"a gap":          append(appendHeader(nil, frameData, 0, 500), "x"...),
		"before its end": append(appendHeader(nil, frameFin, 0, 500), 0),
		"attach again":   (&attach{epoch: 9}).bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFrameNet(testConfig())
				answer, w := n.attachRaw(t, attach{epoch: 1, window: maxWindow})
				server, err := n.l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				for attempt := uint32(2); ; attempt++ {
					w.write(frame)
					for err = nil; err == nil; {
						_, err = w.read()
					}
					a := attach{id: answer.id, epoch: attempt, window: maxWindow}
					a.prove(answer.key)
					var again attached
					if again, w = n.attachRaw(t, a); again.status == attachUnknown {
						if attempt < maxFaults+1 {
							t.Errorf("the stream ended with fault %d", attempt-1)
						}
						break
					}
					if again.status != attachOK || attempt > maxFaults {
						t.Fatalf("attempt %d: %+v", attempt, again)
					}
				}
				var final *FinalError
				if _, err := server.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != Reset {
					t.Errorf("the stream ended with %v", err)
				}
				w.close()
				n.l.Close()
				pass(time.Minute)
			})
		})
	}
}

// An acknowledgement of what was never sent is the end of the stream.
func TestImpossibleAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		_, w := n.attachRaw(t, attach{epoch: 1, window: maxWindow})
		server, err := n.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.write(appendHeader(nil, frameAck, 1<<50, 0))
		var final *FinalError
		if _, err := server.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != OutOfRange {
			t.Errorf("the stream ended with %v", err)
		}
		for {
			msg, err := w.read()
			if err != nil {
				t.Errorf("the client was not told: %v", err)
				break
			}
			if msg[0] == frameReset {
				if msg[1] != resetRange {
					t.Errorf("the client was told %x", msg)
				}
				break
			}
		}
		w.close()
		n.l.Close()
		pass(time.Minute)
	})
}

// A handshake may come byte by byte: the request, and the attach in fragments.
func TestHandshakeInPieces(t *testing.T) {
	l, e := serve(t, false)
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := "GET " + StreamPath + " HTTP/1.1\r\nHost: twin.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + Subprotocol + "\r\n" +
		VersionHeader + ": " + testVersion + "\r\n\r\n"
	for i := range len(request) {
		if _, err := conn.Write([]byte{request[i]}); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %+v, %v", resp, err)
	}
	defer resp.Body.Close()
	for i, b := range (&attach{epoch: 1, window: maxWindow}).bytes() {
		opcode := byte(0) // goes on
		if i == 0 {
			opcode = 2 // binary
		}
		if i == attachSize-1 {
			opcode |= 0x80 // the last one
		}
		conn.Write([]byte{opcode, 0x80 | 1, 0, 0, 0, 0, b}) // masked by zeros
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 0x82 {
		t.Fatalf("answer to the attach: %x, %v", head, err)
	}
	msg := make([]byte, int(head[1]))
	if _, err := io.ReadFull(r, msg); err != nil {
		t.Fatal(err)
	}
	if answer, err := parseAttached(msg); err != nil || answer.status != attachOK || !answer.created {
		t.Errorf("attached: %+v, %v", answer, err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.(*Conn).Abort()
}

// A message longer than any frame is refused before it is in memory.
func TestLongMessage(t *testing.T) {
	l, e := serve(t, false)
	ws, _, err := websocket.Dial(t.Context(), e.URL+StreamPath, &websocket.DialOptions{
		HTTPHeader: http.Header{VersionHeader: {testVersion}}, Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.Write(t.Context(), websocket.MessageBinary, (&attach{epoch: 1, window: maxWindow}).bytes())
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.(*Conn).Abort()
	long := append(appendHeader(nil, frameData, 0, 0), make([]byte, 10<<20)...)
	ws.Write(t.Context(), websocket.MessageBinary, long)
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			break
		}
	}
	server.SetReadDeadline(time.Now())
	if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Two clients that both believe the stream is theirs do not take it from each
// other for ever: the newest has it, the older one ends and says why.
func TestTwoClientsOfOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFrameNet(testConfig())
		client, server := n.connect(t, n.endpoint())
		synctest.Wait()
		a := attach{id: client.keeper.id, epoch: 1000, window: maxWindow}
		a.prove(client.keeper.key)
		answer, w := n.attachRaw(t, a)
		if answer.status != attachOK || answer.created {
			t.Fatalf("%+v", answer)
		}
		var final *FinalError
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != StaleEpoch {
			t.Errorf("the older client ended with %v", err)
		}
		n.mu.Lock()
		opened := len(n.wires)
		n.mu.Unlock()
		pass(20 * time.Second)
		n.mu.Lock()
		if len(n.wires) != opened {
			t.Error("the older client came back")
		}
		n.mu.Unlock()
		go server.Write([]byte("hello"))
		msg, err := w.read()
		for err == nil && msg[0] != frameData {
			msg, err = w.read()
		}
		if err != nil || binary.BigEndian.Uint64(msg[9:]) != 0 || string(msg[headerSize:]) != "hello" {
			t.Errorf("the newer client got %q, %v", msg, err)
		}
	})
}
