//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAppPorts(t *testing.T) {
	proc := t.TempDir()
	for pid, p := range map[string]struct {
		environ string
		started int
	}{
		"10": {appPortVariable + "=8081\x00A=1\x00", 100},
		"11": {"A=1\x00" + appPortVariable + "=8081\x00", 101}, // its child
		"9":  {appPortVariable + "=8083\x00", 300},             // pids begin anew
		"12": {appPortVariable + "=x\x00", 400},
		"13": {"PORT=8084\x00", 400},
	} {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		stat := fmt.Sprintf("%s (an app) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0", pid, p.started)
		for name, text := range map[string]string{"stat": stat, "environ": p.environ} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := appPorts(proc); !slices.Equal(got, []uint32{8083, 8081}) {
		t.Errorf("got %v", got)
	}
}

func TestOwnPortIsTheApps(t *testing.T) {
	s := &server{env: []string{"PORT=7070"}}
	for to, want := range map[target]bool{
		{network: "tcp", host: "localhost", port: 7070}:   true,
		{network: "tcp", host: "LocalHost.", port: 7070}:  true,
		{network: "tcp", host: "127.0.0.1", port: 7070}:   true,
		{network: "tcp", host: "::1", port: 7070}:         true,
		{network: "tcp", host: "localhost", port: 8080}:   false,
		{network: "tcp", host: "example.com", port: 7070}: false,
		{network: "unix", path: "/run/7070"}:              false,
	} {
		if got := s.isOwnPort(to); got != want {
			t.Errorf("%v: %v", to, got)
		}
	}
}

func TestDialApp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "the app")
			_ = conn.Close()
		}
	}()
	own := target{network: "tcp", host: "localhost", port: 7070}
	proc := t.TempDir()
	if _, err := dialApp(t.Context(), own, proc); !errors.Is(err, errNoApp) {
		t.Errorf("without an app: %v", err)
	}
	for pid, port := range map[string]int{"7": 1, "8": l.Addr().(*net.TCPAddr).Port} { // one does not listen (yet)
		if err := os.Mkdir(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "environ"), fmt.Appendf(nil, "%s=%d\x00", appPortVariable, port), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := dialApp(t.Context(), own, proc)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "the app" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = conn.Close()
}
