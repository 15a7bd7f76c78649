package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// testOwnForwards is testBigForwards for our own client, whose -L leads to the
// port that the service has.
func (p *platform) testOwnForwards(t *testing.T) {
	b := noise(101, big)
	want := checksum(b)
	p.runWith(t, bytes.NewReader(b), "ssh", tools, "cat >/srv/own; sha256sum </srv/own").expectOut(t, want+"  -\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(b) // a client that goes away is not our error
	}))
	t.Cleanup(server.Close)
	local, socks := freePort(t), freePort(t)
	end := p.forwards(t, "tools", "-L", local+":localhost:8080", "-D", socks, "-R", "18081:"+server.Listener.Addr().String())
	began := time.Now()
	for what, client := range map[string]*http.Client{
		"http://localhost:" + local + "/own": {},
		"http://localhost:8080/own": {Transport: &http.Transport{
			Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Host: "localhost:" + socks}),
		}},
	} {
		if got := fetch(t, client, what); got != want {
			t.Errorf("%s: the sum is %s, want %s", what, got, want)
		}
		client.CloseIdleConnections()
		t.Logf("%s: 100 MB in %s", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	r := p.cloudssh(t, "tools", "--exec", `python3 -c '
import hashlib, urllib.request
h = hashlib.sha256()
with urllib.request.urlopen("http://127.0.0.1:18081/") as f:
    while b := f.read(1 << 16):
        h.update(b)
print(h.hexdigest())
'; rm /srv/own`).expect(t, 0)
	if r.stdout != want+"\n" {
		t.Errorf("through -R: %q, want %s", r.stdout, want)
	}
	t.Logf("-R: 100 MB in %s, a session included", time.Since(began).Round(time.Millisecond))
	end()
}

// forwards runs cloudssh -N until the function that it returns is called.
func (p *platform) forwards(t *testing.T, args ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	t.Cleanup(cancel)
	cmd := p.command(ctx, p.program, append(args, "-N")...)
	var said watched
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.await(t, "Ctrl-C ends it.")
	return func() {
		t.Helper()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 || strings.Contains(said.String(), "refused") {
			t.Errorf("forwarding ended with %v:\n%s", err, said.String())
		}
	}
}

// fetch returns the sum of what is at an address.
func fetch(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, response.Body); err != nil {
		t.Error(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
