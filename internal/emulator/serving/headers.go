package serving

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
)

const (
	serverName = "Google Frontend"

	headerTrace       = "X-Cloud-Trace-Context"
	headerTraceparent = "Traceparent"
	headerForwarded   = "X-Forwarded-For"
)

// rewrite makes of a client's request what a container sees on Cloud Run.
func rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme = "http"
	p.Out.URL.Host = "instance" // the transport goes to the instance whatever it says
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	p.Out.Host = p.In.Host

	client, _, err := net.SplitHostPort(p.In.RemoteAddr)
	if err != nil {
		client = p.In.RemoteAddr
	}
	via := slices.Concat(p.In.Header[headerForwarded], []string{client})
	p.Out.Header.Set(headerForwarded, strings.Join(via, ","))
	p.Out.Header.Set("X-Forwarded-Proto", "https")
	p.Out.Header.Set("Forwarded", fmt.Sprintf("for=%q;proto=https", client))
	trace(p.Out.Header)
}

// modify makes of a container's response what a client sees.
func modify(res *http.Response) error {
	if res.Request.ProtoMajor == 1 && res.ContentLength > maxBody && res.Request.Method != http.MethodHead {
		return errTooLarge
	}
	res.Header.Set("Server", serverName)
	if id := res.Request.Header.Get(headerTrace); id != "" {
		res.Header.Set(headerTrace, id)
	}
	return nil
}

// trace gives a request its place in a trace: that of the client, if it is in one, and a span of its own.
func trace(h http.Header) {
	id, sampled := clientTrace(h)
	if id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		id = hex.EncodeToString(b[:])
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	flag := 0
	if sampled {
		flag = 1
	}
	h.Set(headerTraceparent, fmt.Sprintf("00-%s-%s-%02d", id, hex.EncodeToString(b[:]), flag))
	value := id + "/" + strconv.FormatUint(binary.BigEndian.Uint64(b[:]), 10)
	if sampled {
		value += ";o=1"
	}
	h.Set(headerTrace, value)
}

// clientTrace is the trace that a client's request belongs to, in W3C's form or in Google's.
func clientTrace(h http.Header) (id string, sampled bool) {
	if f := strings.Split(h.Get(headerTraceparent), "-"); len(f) >= 4 && isTraceID(f[1]) {
		return f[1], strings.HasSuffix(f[3], "1")
	}
	id, rest, _ := strings.Cut(h.Get(headerTrace), "/")
	if isTraceID(id) {
		return id, strings.HasSuffix(rest, ";o=1")
	}
	return "", false
}

func isTraceID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16
}
