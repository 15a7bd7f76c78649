package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary stand for any program that links this package.
func TestMain(m *testing.M) {
	if os.Getenv("UI_TEST_CHILD") != "" {
		_, _ = fmt.Fprintf(os.Stdout, "main CI=%q\n", os.Getenv("CI"))
		return
	}
	m.Run()
}

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

// piped returns a UI that writes to no terminal.
func piped(f Format) (*UI, *bytes.Buffer, *clock) {
	out, c := new(bytes.Buffer), &clock{time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)}
	u := New(nil, out, Options{Format: f})
	u.now = c.now
	return u, out, c
}

func TestPlainProgress(t *testing.T) {
	u, out, c := piped(Auto)
	_, done := u.Progress("reading the service")
	if got := out.String(); got != "• reading the service ..." {
		t.Errorf("a step that runs is shown as %q", got)
	}
	c.advance(1234 * time.Millisecond)
	done(nil)
	done(errors.New("a second call does not count"))

	update, done := u.Progress("creating\nthe twin")
	update("Ready: waiting")
	update("Ready: \x1b[2Jyes")
	c.advance(125 * time.Second)
	done(errors.New("no"))

	_, first := u.Progress("one")
	_, second := u.Progress("two")
	u.Notef("a note")
	first(nil)
	second(nil)
	_, _ = u.Progress("abandoned")
	u.Settle("hello-ssh is ready")
	u.Settle("")
	want := `• reading the service ... done (1.2s)
• creating the twin ...
  creating the twin: Ready: waiting
  creating the twin: Ready: [2Jyes
• creating the twin ... failed (2m05s)
• one ...
• two ...
a note
• one ... done (0.00s)
• two ... done (0.00s)
• abandoned ...
• hello-ssh is ready
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestQuiet(t *testing.T) {
	u, out, _ := piped(Quiet)
	update, done := u.Progress("step")
	update("detail")
	done(nil)
	u.Notef("note")
	u.Settle("final")
	if out.Len() != 0 {
		t.Errorf("got %q", out.String())
	}
	u.Warnf("careful")
	u.Error(errors.New("broken"))
	if want := "warning: careful\nerror: broken\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestJSONProgress(t *testing.T) {
	u, out, c := piped(JSON)
	update, done := u.Progress("create")
	update("Ready")
	c.advance(time.Second)
	done(errors.New("quota"))
	u.Notef("n%d", 1)
	u.Warnf("w")
	u.Settle("f")
	u.Error(hinted{"e", []string{"h"}})
	var got []event
	for d := json.NewDecoder(out); d.More(); {
		var e event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	const start, end = "2026-11-22T03:04:05Z", "2026-11-22T03:04:06Z"
	want := []event{
		{Event: "step", Time: start, ID: 1, Step: "create", State: "running"},
		{Event: "step", Time: start, ID: 1, Step: "create", State: "running", Detail: "Ready"},
		{Event: "step", Time: end, ID: 1, Step: "create", State: "failed", Seconds: 1, Message: "quota"},
		{Event: "note", Time: end, Message: "n1"},
		{Event: "warning", Time: end, Message: "w"},
		{Event: "note", Time: end, Message: "f"},
		{Event: "error", Time: end, Message: "e", Hints: []string{"h"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

type hinted struct {
	text  string
	hints []string
}

func (h hinted) Error() string   { return h.text }
func (h hinted) Hints() []string { return h.hints }

func TestErrorsAndHints(t *testing.T) {
	u, out, _ := piped(Auto)
	first := hinted{"the twin could not be deleted", []string{"cloudssh cleanup", "gcloud run services delete x"}}
	second := fmt.Errorf("connecting: %w", hinted{"refused\x1b]0;owned\x07", []string{"cloudssh cleanup", "try again"}})
	u.Error(errors.Join(first, second))
	u.Error(nil)
	want := `error: the twin could not be deleted
  connecting: refused]0;owned
  hint: cloudssh cleanup
  hint: gcloud run services delete x
  hint: try again
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if got := Hints(nil); got != nil {
		t.Errorf("no error has hints %q", got)
	}
}

func TestNobodyToAsk(t *testing.T) {
	u, out, _ := piped(Auto)
	if u.Interactive() {
		t.Error("a buffer is interactive")
	}
	if _, err := Pick(t.Context(), u, "Which?", []Item[int]{{1, "a", ""}}); err == nil {
		t.Error("picked without a terminal")
	}
	if _, err := u.Confirm(t.Context(), "Sure?"); err == nil {
		t.Error("confirmed without a terminal")
	}
	if out.Len() != 0 {
		t.Errorf("asked nobody: %q", out.String())
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	err := Table(&b, []string{"NAME", "REGION", "AGE"}, [][]string{
		{"hello-ssh", "us-central1", ""}, {"é", "europe\n-west1", "2m"},
	})
	want := "NAME       REGION         AGE\nhello-ssh  us-central1\né          europe -west1  2m\n"
	if err != nil || b.String() != want {
		t.Errorf("got %v\n%q, want\n%q", err, b.String(), want)
	}
}

func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, map[string]string{"url": "a?b=1&c=<d>"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"url\": \"a?b=1&c=<d>\"\n}\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.00s", 340 * time.Millisecond: "0.34s", 59940 * time.Millisecond: "59.9s",
		61 * time.Second: "1m01s", time.Hour: "60m00s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}
