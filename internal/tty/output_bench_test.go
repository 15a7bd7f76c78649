package tty

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkOutput is what following the output costs: of a build, of colours.
func BenchmarkOutput(b *testing.B) {
	for name, line := range map[string]string{
		"text":    "cc -O2 -Wall -c -o build/some/object.o source/some/file.c and some more of it\r\n",
		"colours": "\x1b[32mok\x1b[m  \x1b[1mpackage\x1b[m \x1b[38;5;244m(cached)\x1b[m  \x1b[31mé\x1b[m日本\r\n",
	} {
		for _, locate := range []bool{false, true} {
			b.Run(name+map[bool]string{true: "/mirror", false: "/plain"}[locate], func(b *testing.B) {
				o := NewOutput(io.Discard, OutputOptions{Size: Size{Cols: 80, Rows: 24}, Locate: locate})
				chunk := bytes.Repeat([]byte(line), 32<<10/len(line))
				_, _ = o.Write([]byte("\x1b[H"))
				if locate {
					o.located(1, 1)
				}
				b.SetBytes(int64(len(chunk)))
				for b.Loop() {
					if _, err := o.Write(chunk); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
