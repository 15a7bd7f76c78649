package transport

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The environment's proxies are read once per process, so the client that uses
// one is this test in a process of its own.
func TestProxyFromEnvironment(t *testing.T) {
	if url := os.Getenv("TRANSPORT_TEST_DIAL"); url != "" {
		conn, err := Dial(t.Context(), Endpoint{URL: url, Version: testVersion})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("through the proxy")); err != nil {
			t.Fatal(err)
		}
		conn.CloseWrite()
		io.Copy(io.Discard, conn) // until all is read there: Close would wait for a second only
		return
	}
	l := NewListener(testConfig())
	srv := httptest.NewTLSServer(l)
	defer srv.Close()
	defer l.Close()
	asked := make(chan string, 100)
	proxy := httptest.NewServer(connectProxy(asked, srv.Listener.Addr().String()))
	defer proxy.Close()

	roots := filepath.Join(t.TempDir(), "roots.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(roots, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyFromEnvironment$", "-test.v")
	child.Env = append(os.Environ(), "TRANSPORT_TEST_DIAL=https://example.com", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=not.example.com", "SSL_CERT_FILE="+roots)
	done := make(chan error, 1)
	go func() {
		out, err := child.CombinedOutput()
		if err != nil {
			t.Errorf("dialing in the child: %v\n%s", err, out)
		}
		l.Close()
		done <- err
	}()
	if conn, err := l.Accept(); err == nil {
		if got, err := io.ReadAll(conn); err != nil || string(got) != "through the proxy" {
			t.Errorf("read %q, %v", got, err)
		}
		if got := <-asked; got != "example.com:443" {
			t.Errorf("the proxy was asked for %s", got)
		}
		conn.Close()
	}
	<-done
}

// connectProxy answers CONNECT with a tunnel to target, wherever it was to go.
// What it cannot do it answers with an error, or by hanging up: it may be asked
// for a connection that nobody waits for any more, when the test is over.
func connectProxy(asked chan<- string, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		asked <- r.Host
		to, err := net.Dial("tcp", target)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(to, from)
			to.Close()
		}()
		io.Copy(from, to)
	}
}

func TestLocalhostIsNeverProxied(t *testing.T) {
	for _, host := range []string{"http://localhost:1", "http://a.b.localhost:1"} {
		req := httptest.NewRequest(http.MethodGet, host, strings.NewReader(""))
		if u, err := proxy(req); u != nil || err != nil {
			t.Errorf("proxy(%s) = %v, %v", host, u, err)
		}
	}
}
