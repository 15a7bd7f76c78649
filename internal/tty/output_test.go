package tty

import (
	"bytes"
	"testing"
)

func TestOutputReset(t *testing.T) {
	const tail = "\x1b[0m\x1b(B\x0f"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "plain \x1b[31mred\x1b[0m\r\n", ""},
		{"cleaned up", "\x1b[?1049h\x1b[?25l...\x1b[?25h\x1b[?1049l", ""},
		{"an editor", "\x1b[?1049h\x1b[?1h\x1b=...", "\x1b[?1l\x1b[?1049l\x1b>" + tail},
		{"hidden cursor", "\x1b[?25l", "\x1b[?25h" + tail},
		{"several at once", "\x1b[?1000;1006;2004h", "\x1b[?1000l\x1b[?1006l\x1b[?2004l" + tail},
		{"partly undone", "\x1b[?1000;1006h\x1b[?1006l", "\x1b[?1000l" + tail},
		{"full reset", "\x1b[?1049h\x1bc", ""},
		{"unknown modes", "\x1b[?12h\x1b[?99999999999999999999h\x1b[?h", ""},
		{"not private", "\x1b[4h", ""},
		{"a query", "\x1b[?2004$p", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			o := NewOutput(&got, OutputOptions{})
			for i := range tt.in {
				if _, err := o.Write([]byte{tt.in[i]}); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != tt.in {
				t.Fatalf("output changed to %q", got.String())
			}
			got.Reset()
			for range 2 { // the second finds nothing left
				if err := o.Reset(); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != tt.want {
				t.Errorf("Reset wrote %q, want %q", got.String(), tt.want)
			}
		})
	}
}
