package agent

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

func TestLineDiscipline(t *testing.T) {
	for typed, want := range map[string]struct{ sent, shown string }{
		"ls\r":            {"ls\n", "ls\r\n"},
		"a\nb\r":          {"a\nb\n", "a\r\nb\r\n"},
		"lx\x7fs\r":       {"ls\n", "lx\b \bs\r\n"},
		"\x7f\x08x\r":     {"x\n", "x\r\n"},
		"né\x08\x08o\r":   {"o\n", "né\b \b\b \bo\r\n"},
		"a b  \x17c\r":    {"a c\n", "a b  \b \b\b \b\b \bc\r\n"},
		"ab\x15c\r":       {"c\n", "ab\b \b\b \bc\r\n"},
		"a\x03b\r":        {"b\n", "a^C\r\nb\r\n"},
		"a\x1cb\r":        {"b\n", "a^\\\r\nb\r\n"},
		"half\x04":        {"half", "half"},
		"\x1b[A\x7f\x15y": {"", "^[[A\b \b\b \b\b \b\b \by"},
		"a\tb\r":          {"a\tb\n", "a\tb\r\n"},
	} {
		var sent, shown strings.Builder
		var signals []syscall.Signal
		d := &lineDiscipline{echo: &shown, to: &sent, signal: func(sig syscall.Signal) { signals = append(signals, sig) }}
		if err := d.feed([]byte(typed)); err != nil {
			t.Errorf("%q: %v", typed, err)
		}
		if sent.String() != want.sent || shown.String() != want.shown {
			t.Errorf("%q: sent %q, shown %q; want %q, %q", typed, sent.String(), shown.String(), want.sent, want.shown)
		}
		if interrupts := strings.ContainsAny(typed, "\x03\x1c"); interrupts != (len(signals) == 1) {
			t.Errorf("%q: signals %v", typed, signals)
		}
	}
	d := &lineDiscipline{echo: io.Discard, to: io.Discard}
	if err := d.feed([]byte("x\r\x04never")); !errors.Is(err, io.EOF) || len(d.line) > 0 {
		t.Errorf("Ctrl-D: %v, %q", err, d.line)
	}
	var shown strings.Builder
	d.echo = &shown
	if err := d.feed([]byte(strings.Repeat("x", maxLine+1))); err != nil || len(d.line) != maxLine || !strings.HasSuffix(shown.String(), "x\a") {
		t.Errorf("a long line: %v, %d bytes", err, len(d.line))
	}
}
