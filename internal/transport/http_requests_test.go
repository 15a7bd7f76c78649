package transport

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// request makes one request of a client, by hand.
func request(t *testing.T, h http.Handler, method, path, id, sequence string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	r.Header.Set(VersionHeader, testVersion)
	r.Header.Set(connectionHeader, id)
	r.Header.Set(sequenceHeader, sequence)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const testID = "000102030405060708090a0b0c0d0e0f"

func records(frames ...string) []byte {
	var b []byte
	for _, f := range frames {
		b = appendRecord(b, []byte(f))
	}
	return b
}

// Requests that come twice, in pieces or in another order count once, in order.
func TestHTTPWireRequestsOutOfOrder(t *testing.T) {
	h, wires := wireServer(t)
	for range 2 { // asked again after a lost answer
		if w := request(t, h.l, "POST", openPath, testID, "", nil); w.Code != 200 || w.Header().Get(HostKeyHeader) == "" {
			t.Fatalf("open: %d %v", w.Code, w.Header())
		}
	}
	up := func(sequence string, body io.Reader, want int) {
		t.Helper()
		if w := request(t, h.l, "POST", upPath, testID, sequence, body); w.Code != want {
			t.Errorf("POST %s: %d %s", sequence, w.Code, w.Body)
		}
	}
	zero := records("a", "bc", "def")
	up("1", bytes.NewReader(records("x")), 200)
	up("0", io.MultiReader(bytes.NewReader(zero[:6]), &brokenReader{}), 400) // breaks off after "a" and a bit
	server := <-wires
	readsFrames(t, server, "a")
	up("0", bytes.NewReader(zero), 200)
	up("0", bytes.NewReader(zero), 200)
	up("2", bytes.NewReader(records("y", "")), 200)
	readsFrames(t, server, "bc", "def", "x", "y")
	up("1", bytes.NewReader(records("again")), 200)
	up("3", bytes.NewReader(records("z")), 200)
	readsFrames(t, server, "z")
	if w := request(t, h.l, "POST", openPath, testID, "", nil); w.Code != http.StatusConflict {
		t.Errorf("a connection with frames was opened again: %d", w.Code)
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func readsFrames(t *testing.T, w wire, want ...string) {
	t.Helper()
	for _, f := range want {
		if got, err := w.read(); err != nil || string(got) != f {
			t.Fatalf("read %q, %v, want %q", got, err, f)
		}
	}
}

// A poll that comes again gets the answer it had.
func TestHTTPWirePollsAgain(t *testing.T) {
	h, wires := wireServer(t)
	request(t, h.l, "POST", openPath, testID, "", nil)
	request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(records("a")))
	server := <-wires
	poll := func(sequence string, code int, want string) {
		t.Helper()
		if w := request(t, h.l, "GET", pollPath, testID, sequence, nil); w.Code != code || code == 200 && w.Body.String() != want {
			t.Errorf("poll %s: %d %q, want %d %q", sequence, w.Code, w.Body, code, want)
		}
	}
	for i := range 4 {
		if err := server.write([]byte{byte('0' + i)}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			poll(strconv.Itoa(i), 200, string(records(strconv.Itoa(i))))
		}
	}
	poll("2", 200, string(records("2")))
	poll("0", 400, "")  // long answered
	poll("20", 400, "") // nobody asks so far ahead
	server.close()
	if w := request(t, h.l, "GET", pollPath, testID, "4", nil); w.Code != 200 || w.Header().Get(endHeader) == "" {
		t.Errorf("the poll after the end: %d %v", w.Code, w.Header())
	}
}

func TestHTTPWireBadRequests(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, id, sequence string
		body                             []byte
		code                             int
		ends                             bool
	}{
		{"no id", "POST", openPath, "", "", nil, 400, false},
		{"short id", "POST", openPath, "00ff", "", nil, 400, false},
		{"unknown id", "POST", upPath, strings.Repeat("1", 32), "0", nil, 409, false},
		{"no sequence", "POST", upPath, testID, "", nil, 400, false},
		{"negative sequence", "POST", upPath, testID, "-1", nil, 400, false},
		{"far ahead", "POST", upPath, testID, "100", records("x"), 400, true},
		{"long body", "POST", upPath, testID, "0", append(binary.BigEndian.AppendUint32(nil, maxFrame), make([]byte, maxBody)...), 400, true},
		{"poll without a number", "GET", pollPath, testID, "x", nil, 400, false},
		{"poll far ahead", "GET", pollPath, testID, "9", nil, 400, false},
		{"stream of nobody", "GET", downPath, "x", "", nil, 409, false},
		{"wrong method", "GET", upPath, testID, "0", nil, 405, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := wireServer(t)
			request(t, h.l, "POST", openPath, testID, "", nil)
			w := request(t, h.l, tt.method, tt.path, tt.id, tt.sequence, bytes.NewReader(tt.body))
			if w.Code != tt.code || w.Header().Get(VersionHeader) != testVersion {
				t.Errorf("answer %d %q %v, want %d", w.Code, w.Body, w.Header(), tt.code)
			}
			again := request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(records("x"))).Code
			if ended := again != 200; ended != tt.ends {
				t.Errorf("the connection's next request: %d", again)
			}
		})
	}
}

// Frames that are none end the wire.
func TestHTTPWireBadFrames(t *testing.T) {
	for name, body := range map[string][]byte{
		"too long":  binary.BigEndian.AppendUint32(nil, maxFrame+1),
		"cut short": records("abc")[:5],
	} {
		t.Run(name, func(t *testing.T) {
			h, wires := wireServer(t)
			request(t, h.l, "POST", openPath, testID, "", nil)
			request(t, h.l, "POST", upPath, testID, "0", bytes.NewReader(body))
			var protocol *protocolError
			if _, err := (<-wires).read(); !errors.As(err, &protocol) {
				t.Errorf("error = %v, want a protocol error", err)
			}
		})
	}
}

func TestHTTPWireWantsItsOwnVersionAndAccount(t *testing.T) {
	h, _ := wireServer(t)
	token := func(email string) string {
		return "Bearer e30." + strings.TrimRight(base64URL(`{"email":"`+email+`"}`), "=") + ".x"
	}
	for _, tt := range []struct {
		path, version, email string
		refuse, want         int
	}{
		{openPath, "v0", "a@x", 0, http.StatusUpgradeRequired},
		{openPath, testVersion, "a@x", http.StatusGone, http.StatusGone},
		{openPath, testVersion, "a@x", 0, 200},
		{openPath, testVersion, "b@x", 0, http.StatusConflict},
		{upPath, testVersion, "b@x", 0, http.StatusConflict},
		{upPath, "v0", "a@x", 0, http.StatusUpgradeRequired},
		{upPath, testVersion, "a@x", 0, 200},
	} {
		h.l.Refuse(tt.refuse)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, bytes.NewReader(records("x")))
		r.Header.Set(VersionHeader, tt.version)
		r.Header.Set(connectionHeader, testID)
		r.Header.Set(sequenceHeader, "0")
		r.Header.Set("X-Serverless-Authorization", token(tt.email))
		w := httptest.NewRecorder()
		h.l.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s by %s of %s: %d %s", tt.path, tt.email, tt.version, w.Code, w.Body)
		}
	}
}

// Half-open connections are bounded, the newest stay, and all of them go.
func TestHTTPWireHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := wireServer(t)
		id := func(i int) string { return fmt.Sprintf("%032x", i) }
		for i := range 1000 {
			if w := request(t, h.l, "POST", openPath, id(i), "", nil); w.Code != 200 {
				t.Fatalf("connection %d: %d %s", i, w.Code, w.Body)
			}
		}
		synctest.Wait()
		if n := h.count(); n != maxHalfOpen {
			t.Errorf("%d half-open connections, want %d", n, maxHalfOpen)
		}
		if w := request(t, h.l, "POST", upPath, id(999), "0", bytes.NewReader(records("x"))); w.Code != 200 {
			t.Errorf("the last one: %d %s", w.Code, w.Body)
		}
		if w := request(t, h.l, "POST", upPath, id(0), "0", bytes.NewReader(records("x"))); w.Code != http.StatusConflict {
			t.Errorf("the first one: %d %s", w.Code, w.Body)
		}
		pass(connectionGone + lingerTime + time.Second)
		synctest.Wait()
		if n := h.count(); n != 0 {
			t.Errorf("%d connections are left of clients that went away", n)
		}
	})
}

func (h *httpServer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

func base64URL(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }
