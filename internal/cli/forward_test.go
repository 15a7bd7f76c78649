package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseForward(t *testing.T) {
	tcp := func(address string) target { return target{"tcp", address} }
	unix := func(path string) target { return target{"unix", path} }
	at := func(port int) listenAddr { return listenAddr{port: port} }
	on := func(host string, port int) listenAddr { return listenAddr{host: host, given: true, port: port} }
	for _, tt := range []struct {
		text   string
		listen listenAddr
		to     target
	}{
		{"8080:localhost:80", at(8080), tcp("localhost:80")},
		{"0:localhost:80", at(0), tcp("localhost:80")},
		{"127.0.0.1:8080:db:5432", on("127.0.0.1", 8080), tcp("db:5432")},
		{"*:8080:db:5432", on("", 8080), tcp("db:5432")},
		{":8080:db:5432", on("", 8080), tcp("db:5432")},
		{"[::1]:8080:[fe80::1]:80", on("::1", 8080), tcp("[fe80::1]:80")},
		{"8080:[::1]:80", at(8080), tcp("[::1]:80")},
		{"8080:/run/db.sock", at(8080), unix("/run/db.sock")},
		{"localhost:8080:/run/db.sock", on("localhost", 8080), unix("/run/db.sock")},
		{"/tmp/db.sock:db:5432", listenAddr{path: "/tmp/db.sock"}, tcp("db:5432")},
		{"./db.sock:[::1]:5432", listenAddr{path: "./db.sock"}, tcp("[::1]:5432")},
		{"/tmp/a:/run/b", listenAddr{path: "/tmp/a"}, unix("/run/b")},
		{`/tmp/a\:b:/run/c\\d`, listenAddr{path: "/tmp/a:b"}, unix(`/run/c\d`)},
		{"[/tmp/a:b]:/run/c", listenAddr{path: "/tmp/a:b"}, unix("/run/c")},
	} {
		for _, flag := range []string{"-L", "-R"} {
			if flag == "-R" && strings.HasPrefix(tt.text, ".") {
				continue // where would that be in a twin?
			}
			f, err := parseForward(flag, tt.text)
			if err != nil {
				t.Errorf("%s %s: %v", flag, tt.text, err)
				continue
			}
			want := &forward{flag: flag, text: tt.text, remote: flag == "-R", listen: tt.listen, to: tt.to}
			if d := cmp.Diff(want, f, cmp.AllowUnexported(forward{}, listenAddr{}, target{})); d != "" {
				t.Errorf("%s %s (-want +got):\n%s", flag, tt.text, d)
			}
		}
	}
	for text, want := range map[string]listenAddr{"1080": at(1080), "*:1080": on("", 1080), "[::1]:0": on("::1", 0)} {
		for name, parse := range map[string]func() (*forward, error){
			"-D": func() (*forward, error) { return parseDynamic(text) },
			"-R": func() (*forward, error) { return parseForward("-R", text) },
		} {
			if f, err := parse(); err != nil || f.listen != want || !f.to.socks() {
				t.Errorf("%s %s: %+v, %v", name, text, f, err)
			}
		}
	}
}

func TestParseForwardRefuses(t *testing.T) {
	for _, tt := range []struct{ flag, text, says string }{
		{"-L", "", "ports are"},
		{"-L", "8080", "form"},
		{"-L", "8080:80", "form"},
		{"-L", "localhost:8080", "form"},
		{"-L", "8080:localhost:http", "ports are"},
		{"-L", "8080:localhost:0", "ports are"},
		{"-L", "65536:localhost:80", "ports are"},
		{"-L", "8080:localhost:65536", "ports are"},
		{"-L", "8080:localhost:-1", "ports are"},
		{"-L", "8080::80", "form"},
		{"-L", "::1:8080:localhost:80", "form"},
		{"-L", "[::1:8080:localhost:80", "bracket"},
		{"-L", "[::1]8080:localhost:80", "form"},
		{"-L", "a:1:b:2:c", "form"},
		{"-L", "/tmp/a:1:b:2", "form"},
		{"-L", "/tmp/a:80", "form"},
		{"-L", "/tmp/a", "form"},
		{"-L", "/tmp/a\x00:/run/b", "form"},
		{"-L", "8080:./sock", "absolute"},
		{"-R", "./sock:localhost:80", "absolute"},
		{"-W", "./sock", "absolute"},
		{"-R", "x", "ports are"},
		{"-R", "8080:localhost:", "ports are"},
		{"-R", "8080:", "ports are"},
		{"-D", "1080:localhost:80", "form"},
		{"-D", "[::1]:99999", "ports are"},
		{"-D", "", "ports are"},
		{"-W", "localhost", "form"},
		{"-W", "localhost:x", "ports are"},
		{"-W", "1:localhost:80", "form"},
	} {
		o := connectOptions{ttl: 60e9, idle: 60e9, escape: "~"}
		switch tt.flag {
		case "-L":
			o.forward.local = []string{tt.text}
		case "-R":
			o.forward.remote = []string{tt.text}
		case "-D":
			o.forward.dynamic = []string{tt.text}
		case "-W":
			if tt.text != "" {
				o.forward.stdio = tt.text
			}
		}
		err := o.validate()
		var usage *usageError
		if err == nil || !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.flag) {
			t.Errorf("%s %q: %v, want a usage error with %q", tt.flag, tt.text, err, tt.says)
		}
	}
}

func TestForwardFlagsThatExclude(t *testing.T) {
	for name, o := range map[string]connectOptions{
		"-N and a command": {forward: forwardOptions{only: true}, command: remoteCommand{shell: "ls"}},
		"-W and a command": {forward: forwardOptions{stdio: "a:1"}, command: remoteCommand{argv: []string{"ls"}}},
		"-N and -t":        {forward: forwardOptions{only: true}, tty: true},
		"-N and -W":        {forward: forwardOptions{only: true, stdio: "a:1"}},
		"-N and -A":        {forward: forwardOptions{only: true, agent: true}},
		"-N and --persist": {forward: forwardOptions{only: true}, persist: true},
	} {
		o.ttl, o.idle, o.escape = 60e9, 60e9, "~"
		var usage *usageError
		if err := o.validate(); !errors.As(err, &usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// open opens what a -L needs here.
func open(t *testing.T, text string) (*forwardOptions, error) {
	t.Helper()
	o := &forwardOptions{local: []string{text}}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	err := o.open(t.Context(), os.Getenv)
	t.Cleanup(o.close)
	return o, err
}

func TestPortInUse(t *testing.T) {
	o, err := open(t, "0:localhost:80")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(o.all[0].bound)
	if err != nil || len(o.doors[0].listeners) == 0 {
		t.Fatalf("bound to %q", o.all[0].bound)
	}
	if _, err := net.Dial("tcp", "127.0.0.1:"+port); err != nil {
		t.Error(err)
	}
	_, err = open(t, port+":localhost:80")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("-L %s:localhost:80: 127.0.0.1:%s is in use", port, port)) {
		t.Errorf("got %v", err)
	}
}

func TestSocketInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	o, err := open(t, path+":localhost:80")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := open(t, path+":localhost:80"); err == nil || !strings.Contains(err.Error(), "the file "+path+" exists") {
		t.Errorf("got %v", err)
	}
	o.close()
	o.doors = nil
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	if _, err := open(t, filepath.Join(t.TempDir(), strings.Repeat("x", 120))+":localhost:80"); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

func TestNoSSHAgent(t *testing.T) {
	o := &forwardOptions{agent: true}
	for _, at := range []string{"", filepath.Join(t.TempDir(), "none")} {
		err := o.open(t.Context(), func(string) string { return at })
		if err == nil || !strings.Contains(err.Error(), "--forward-agent") {
			t.Errorf("%q: %v", at, err)
		}
	}
}

// peer is a client of a proxy: what it sends, and what it is answered.
type peer struct {
	io.Reader
	bytes.Buffer
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func TestSOCKS(t *testing.T) {
	for _, tt := range []struct {
		name, sent, address, answer string
		left                        string // bytes that are not the proxy's
	}{
		{"5, IPv4", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90GET /", "127.0.0.1:8080", "\x05\x00", "GET /"},
		{"5, IPv6", "\x05\x02\x02\x00\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50", "[::1]:80", "\x05\x00", ""},
		{"5, name", "\x05\x01\x00\x05\x01\x00\x03\x02db\x15\x38", "db:5432", "\x05\x00", ""},
		{"4", "\x04\x01\x00\x50\x0a\x00\x00\x01jane\x00x", "10.0.0.1:80", "", "x"},
		{"4A", "\x04\x01\x00\x50\x00\x00\x00\x01\x00db\x00x", "db:80", "", "x"},
		{"5, logging in only", "\x05\x01\x02", "", "\x05\xff", ""},
		{"5, BIND", "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x1f\x90", "", "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"5, no such kind", "\x05\x01\x00\x05\x01\x00\x02", "", "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"5, control characters", "\x05\x01\x00\x05\x01\x00\x03\x02\x1b[\x15\x38", "", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"5, control characters of 8 bits", "\x05\x01\x00\x05\x01\x00\x03\x02\x9b1\x15\x38", "", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"5, no name", "\x05\x01\x00\x05\x01\x00\x03\x00\x15\x38", "", "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		{"5, cut", "\x05\x01\x00\x05\x01\x00\x03\x09db", "", "\x05\x00", ""},
		{"4, BIND", "\x04\x02\x00\x50\x0a\x00\x00\x01\x00", "", "\x00\x5b\x00\x00\x00\x00\x00\x00", ""},
		{"4, port 0", "\x04\x01\x00\x00\x0a\x00\x00\x01\x00", "", "\x00\x5b\x00\x00\x00\x00\x00\x00", ""},
		{"4, endless name", "\x04\x01\x00\x50\x0a\x00\x00\x01" + strings.Repeat("x", 300), "", "", strings.Repeat("x", 44)},
		{"HTTP", "GET / HTTP/1.1\r\n", "", "", "ET / HTTP/1.1\r\n"},
		{"nothing", "", "", "", ""},
	} {
		p := &peer{Reader: strings.NewReader(tt.sent)}
		r, err := readSOCKS(p)
		if (err == nil) != (tt.address != "") || err == nil && r.address != tt.address {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		left, _ := io.ReadAll(p.Reader)
		if p.String() != tt.answer || string(left) != tt.left {
			t.Errorf("%s: answered %q and left %q", tt.name, p.String(), left)
		}
	}
}

func TestSOCKSAnswers(t *testing.T) {
	for reason, want := range map[string]byte{
		"connection refused": 5, "Connection refused": 5, "network is unreachable": 3, "no such host": 4, "timed out": 4, "no such file": 1,
	} {
		var w bytes.Buffer
		r := &socksRequest{version: socks5}
		if err := r.answer(&w, socksCode(reason, false)); err != nil || w.Bytes()[1] != want || w.Len() != 10 {
			t.Errorf("%s: %v, %v", reason, w.Bytes(), err)
		}
	}
	if got := socksCode("guests cannot forward", true); got != 2 {
		t.Errorf("prohibited: %d", got)
	}
	for code, want := range map[byte]byte{socksSucceeded: 90, socksConnectionRefused: 91} {
		var w bytes.Buffer
		if err := (&socksRequest{version: socks4}).answer(&w, code); err != nil || w.Bytes()[1] != want || w.Len() != 8 {
			t.Errorf("%d: %v, %v", code, w.Bytes(), err)
		}
	}
}

// FuzzSOCKS: whatever comes, what is to be dialled has a host and a port, and
// the bytes after the request are left alone.
func FuzzSOCKS(f *testing.F) {
	for _, seed := range []string{
		"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90GET /", "\x05\x01\x00\x05\x01\x00\x03\x02db\x15\x38",
		"\x04\x01\x00\x50\x00\x00\x00\x01\x00db\x00x", "\x05\x01\x00\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50",
	} {
		f.Add([]byte(seed), []byte("the rest"))
	}
	f.Fuzz(func(t *testing.T, sent, rest []byte) {
		p := &peer{Reader: io.MultiReader(bytes.NewReader(sent), bytes.NewReader(rest))}
		r, err := readSOCKS(p)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(r.address)
		if err != nil || host == "" || port == "" || port == "0" || strings.ContainsAny(host, "\x00\r\n\x1b") {
			t.Errorf("to be dialled: %q, %v", r.address, err)
		}
		if left, _ := io.ReadAll(p.Reader); !bytes.HasSuffix(append(bytes.Clone(sent), rest...), left) {
			t.Errorf("left %q", left)
		}
	})
}

// FuzzParseForward: what is accepted has somewhere to listen and somewhere to lead.
func FuzzParseForward(f *testing.F) {
	for _, seed := range []string{"8080:localhost:80", "[::1]:8080:[::1]:80", "/a:/b", `\:1:b:2`, "*:1:/c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseForward("-L", text)
		if err != nil {
			return
		}
		if got.to.socks() || got.to.address == "" || got.listen.port > 65535 || strings.Contains(got.listen.path+got.to.address, "\x00") {
			t.Errorf("%q: %+v", text, got)
		}
	})
}
