package tool

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// echoServer answers with what it was asked.
func echoServer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/redirect":
		http.Redirect(w, r, "/to", http.StatusFound)
		return
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
		return
	case "/missing":
		http.NotFound(w, r)
		return
	case "/slow":
		<-r.Context().Done()
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s %s\n", r.Method, r.URL.RequestURI(), r.Host)
	for _, name := range []string{"Content-Type", "X-One", "Cookie", "Referer", "Range", "Authorization", "Accept"} {
		if v := r.Header.Get(name); v != "" && !strings.HasPrefix(v, "multipart") {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart") {
		fmt.Fprintf(w, "%s\n", body)
	}
}

func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echoServer))
	defer server.Close()
	dir := sample(t)
	u := server.URL
	same(t, dir, "from stdin",
		"curl -s "+u, "curl -s "+u+"/a?b=c", "curl -s -X PUT "+u, "curl -s -H 'X-One: 1' "+u, "curl -s -d a=1 -d b=2 "+u, "curl -s -d @a.txt "+u, "curl -s --data-binary @a.txt "+u, "curl -s -d @- "+u,
		"curl -s -G -d q=x "+u, "curl -s --data-urlencode 'q=a b&c' "+u, "curl -s -u me:secret "+u, "curl -s -b k=v -e http://r "+u, "curl -s -r 0-5 "+u, "curl -s -T a.txt "+u+"/f", "curl -s -F a=1 -F f=@a.txt "+u,
		"curl -s "+u+"/redirect", "curl -sL "+u+"/redirect", "curl -sL "+u+"/loop", "curl -sf "+u+"/missing", "curl -s "+u+"/missing", "curl -s -w '%{http_code} %{size_download}\\n' -o /dev/null "+u+"/missing",
		"curl -s -m 0.2 "+u+"/slow", "curl -s -H 'Content-Type: application/json' -d {} "+u, "curl -s -H Accept: "+u, "curl -s -H 'Host: other' "+u, "curl -s http://127.0.0.1:1/", "curl -s nothing://x", "curl -s "+strings.TrimPrefix(u, "http://"),
		"curl -s --resolve some.name:"+u[strings.LastIndex(u, ":")+1:]+":127.0.0.1 http://some.name:"+u[strings.LastIndex(u, ":")+1:]+"/x")
	if got := run(t, dir, "", "curl", "-si", u); !strings.HasPrefix(got.stdout, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got.stdout, "\r\n\r\nGET / ") {
		t.Errorf("curl -i: %+v", got)
	}
	if got := run(t, dir, "", "fetch", "-I", u); !strings.HasPrefix(got.stdout, "HTTP/1.1 200 OK\r\n") || strings.Contains(got.stdout, "HEAD /") {
		t.Errorf("fetch -I: %+v", got)
	}
	if got := run(t, dir, "", "fetch", "-v", u); !strings.Contains(got.stderr, "> GET /") || !strings.Contains(got.stderr, "< HTTP/1.1 200 OK") {
		t.Errorf("fetch -v: %+v", got)
	}
	for _, command := range []string{"curl -s -o out " + u, "wget -q -O out " + u, "wget -q " + u + "/out", "fetch -O " + u + "/out"} {
		if got := run(t, dir, "", words(command)...); got.status != 0 || got.stdout != "" {
			t.Errorf("%s: %+v", command, got)
		}
		text, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil || !strings.HasPrefix(string(text), "GET /") {
			t.Errorf("%s: %q, %v", command, text, err)
		}
		if err := os.Remove(filepath.Join(dir, "out")); err != nil {
			t.Error(err)
		}
	}
	for command, want := range map[string]int{"wget -q " + u + "/missing": 8, "wget -q http://127.0.0.1:1/": 4, "wget -q --spider " + u: 0} {
		if got := run(t, dir, "", words(command)...); got.status != want {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

func TestFetchTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(echoServer))
	defer server.Close()
	dir := t.TempDir()
	if got := run(t, dir, "", "curl", "-s", "-S", server.URL); got.status != fetchTrust || !strings.Contains(got.stderr, "-k") {
		t.Errorf("without trust: %+v", got)
	}
	if got := run(t, dir, "", "curl", "-sk", server.URL); got.status != 0 || !strings.HasPrefix(got.stdout, "GET / ") {
		t.Errorf("-k: %+v", got)
	}
}

func TestNetcat(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, err := io.ReadAll(conn)
			if err == nil {
				fmt.Fprintf(conn, "got %s", text)
			}
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, "/", "hello", "nc", "127.0.0.1", port); got.stdout != "got hello" || got.status != 0 {
		t.Errorf("nc: %+v", got)
	}
	if got := run(t, "/", "", "nc", "-zv", "127.0.0.1", port); !strings.Contains(got.stderr, "connected") || got.status != 0 {
		t.Errorf("nc -z: %+v", got)
	}
	if got := run(t, "/", "", "nc", "-z", "127.0.0.1", "1"); got.status != 1 {
		t.Errorf("nc -z of nothing: %+v", got)
	}
}

func TestNetcatListens(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	c := newContext(t, "/", "nc", "-lvU", socket)
	r, w := io.Pipe()
	var stdout strings.Builder
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader("answer"), &stdout, w
	done := make(chan int, 1)
	go func() { done <- nc(c) }()
	line := make([]byte, 200)
	if _, err := r.Read(line); err != nil || !strings.HasPrefix(string(line), "listening") {
		t.Fatal(string(line), err)
	}
	go io.Copy(io.Discard, r)
	if got := run(t, "/", "question", "nc", "-U", socket); got.stdout != "answer" || got.status != 0 {
		t.Errorf("nc -U: %+v", got)
	}
	if status := <-done; status != 0 || stdout.String() != "question" {
		t.Errorf("nc -l: %d %q", status, stdout.String())
	}
}

// nameServer answers questions about a few names, and returns its address.
func nameServer(t *testing.T) string {
	t.Helper()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			q := m.Questions[0]
			m.Response = true
			h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
			switch {
			case q.Name.String() == "gone.test.":
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}}}
			case q.Type == dnsmessage.TypeMX:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.MXResource{Pref: 5, MX: q.Name}}}
			case q.Type == dnsmessage.TypePTR:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("host.test.")}}}
			case q.Type == dnsmessage.TypeTXT:
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.TXTResource{TXT: []string{"a b", `"c"`}}}}
			}
			if packed, err := m.Pack(); err == nil {
				p.WriteTo(packed, from)
			}
		}
	}()
	return p.LocalAddr().String()
}

func TestDNS(t *testing.T) {
	host, port, err := net.SplitHostPort(nameServer(t))
	if err != nil {
		t.Fatal(err)
	}
	at := " @" + host + " -p " + port + " "
	for command, want := range map[string]string{
		"dig" + at + "+short www.test":                    "192.0.2.7\n",
		"dig" + at + "+short www.test MX":                 "5 www.test.\n",
		"dig" + at + "+short -x 192.0.2.7":                "host.test.\n",
		"dig" + at + "+short TXT www.test":                "\"a b\" \"\\\"c\\\"\"\n",
		"host -p " + port + " www.test " + host:           "www.test has address 192.0.2.7\n",
		"nslookup -type=MX www.test " + host + ":" + port: "Server:\t\t" + host + ":" + port + "\n\nwww.test\tMX = 5 www.test.\n",
	} {
		if got := run(t, "/", "", words(command)...); got.stdout != want || got.status != 0 {
			t.Errorf("%s: %+v", command, got)
		}
	}
	if got := run(t, "/", "", words("dig"+at+"gone.test")...); !strings.Contains(got.stdout, "NXDOMAIN") || got.status != 0 {
		t.Errorf("dig: %+v", got)
	}
	if got := run(t, "/", "", "host", "-p", port, "gone.test", host); !strings.Contains(got.stdout, "not found") || got.status != 1 {
		t.Errorf("host: %+v", got)
	}
	if got := run(t, "/", "", words("dig @127.0.0.1 -p 1 +time=1 x.test")...); got.status != 9 {
		t.Errorf("dig without a server: %+v", got)
	}
}

func TestHexAddress(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000001000000:0016": "[::1]:22", "0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
	} {
		if got, ok := hexAddress(text); !ok || got.String() != want {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "01:", "xyz:1", "0100007F:99999"} {
		if _, ok := hexAddress(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}
