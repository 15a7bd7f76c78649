package serving

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

func texts(lines []line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}

func TestLineWriter(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, tc := range map[string]struct{ in, want []string }{
		"split":        {[]string{"a\nb", "c\n", "\n", "d"}, []string{"a", "bc", "", "d"}},
		"carriage":     {[]string{"a\r\n", "b\rc\n"}, []string{"a", "b\rc"}},
		"not UTF-8":    {[]string{"\xff\xfeok\n"}, []string{"\uFFFDok"}},
		"longest line": {[]string{long, "\n"}, []string{long}},
		"longer line":  {[]string{long + "y", "z\n"}, []string{long, "yz"}},
	} {
		b := newLogBuffer(0)
		w := &lineWriter{log: b, container: "app", stream: stdout}
		for _, s := range tc.in {
			if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
				t.Errorf("%s: Write = %d, %v", name, n, err)
			}
		}
		w.flush()
		lines, _, _, _ := b.since(0)
		if got := texts(lines); strings.Join(got, "|") != strings.Join(tc.want, "|") {
			t.Errorf("%s: %.60q, want %.60q", name, got, tc.want)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	b := newLogBuffer(10 * (lineCost + 10))
	for n := range 1000 {
		b.add("app", stdout, fmt.Sprintf("line %05d", n))
	}
	lines, next, _, _ := b.since(0)
	if got := texts(lines); len(got) != 10 || got[0] != "line 00990" || got[9] != "line 00999" || next != 1000 {
		t.Errorf("kept %q, next is %d", got, next)
	}
	if lines, _, _, _ := b.since(998); len(lines) != 2 {
		t.Errorf("%d lines since 998, want 2", len(lines))
	}
	if lines, _, _, _ := b.since(5); len(lines) != 10 {
		t.Errorf("%d lines since one that is gone, want those that are left", len(lines))
	}
	b.add("app", stdout, strings.Repeat("x", 5000))
	if lines, _, _, _ := b.since(0); len(lines) != 1 {
		t.Errorf("%d lines after one that is larger than the log, want that one", len(lines))
	}
}

func TestLogsOutliveTheRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, p runtime.Proc) error {
			_, _ = fmt.Fprint(p.Stdout, "to stdout\nand ")
			_, _ = fmt.Fprintln(p.Stderr, "to stderr")
			return web(text("ok"), nil)(ctx, p)
		})
		f.deploy()
		if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		f.fleet.Logs(f.rev.Key()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?follow=1", nil))
		want := regexp.MustCompile(`(?m)^2000-01-01T00:00:00.000000Z hello-1 stdout: to stdout
2000-01-01T00:00:00.000000Z hello-1 stderr: to stderr
2000-01-01T00:00:00.\d{6}Z system: Default STARTUP .*
2000-01-01T00:00:00.\d{6}Z hello-1 stdout: and $`)
		if !want.MatchString(strings.TrimSuffix(w.Body.String(), "\n")) {
			t.Errorf("log:\n%s", w.Body)
		}
		if got := f.fleet.Tail(f.rev.Key(), 1); len(got) != 1 || !strings.HasSuffix(got[0], "hello-1 stdout: and ") {
			t.Errorf("tail %q", got)
		}
		if w := httptest.NewRecorder(); true {
			f.fleet.Logs(Key{Service: "other"}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			if w.Code != http.StatusNotFound {
				t.Errorf("log of no revision: %d", w.Code)
			}
		}
	})
}

func TestOldLogsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, web(text("ok"), nil))
		f.rev.Template.HealthCheckDisabled = true
		first := f.rev
		for n := range keptLogs + 1 {
			f.rev.Name = fmt.Sprintf("hello-%05d-abc", n+1)
			f.deploy()
			f.fleet.log(f.rev.Key()).printf("here")
			if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.fleet.Tail(first.Key(), 1); got != nil {
			t.Errorf("the oldest log is still there: %q", got)
		}
		f.wantLog("here")
	})
}

func TestFollow(t *testing.T) {
	f, _ := served(t, text("ok"))
	s := httptest.NewServer(f.fleet.Logs(f.rev.Key()))
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/?follow=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "probe succeeded") {
		t.Fatalf("first line %q, %v", line, err)
	}
	f.fleet.log(f.rev.Key()).printf("later")
	if line, err := r.ReadString('\n'); err != nil || !strings.HasSuffix(line, " system: later\n") {
		t.Fatalf("second line %q, %v", line, err)
	}
	if err := f.fleet.Remove(t.Context(), f.rev.Key()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("after the removal: %q, %v", rest, err)
	}
}
