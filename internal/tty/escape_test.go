package tty

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEscapes(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		char           byte
		disconnect     bool
		helps          int
	}{
		{"disconnect at the very start", "~.", "", '~', true, 0},
		{"what follows is dropped", "ls\r~.rm -rf\r", "ls\r", '~', true, 0},
		{"after a line feed", "ls\n~.", "ls\n", '~', true, 0},
		{"not within a line", "cd ~.\r", "cd ~.\r", '~', false, 0},
		{"not after a space", " ~.", " ~.", '~', false, 0},
		{"doubled", "~~.\r", "~.\r", '~', false, 0},
		{"help, and still at line start", "~?~?~.", "", '~', true, 2},
		{"unknown command", "~x\r", "~x\r", '~', false, 0},
		{"home directory", "~/bin/x\r", "~/bin/x\r", '~', false, 0},
		{"held at the end", "a\r~", "a\r~", '~', false, 0},
		{"tilde, return, escape", "~\r~.", "~\r", '~', true, 0},
		{"another character", "%.", "", '%', true, 0},
		{"tilde with another character", "~.\r%~", "~.\r%~", '%', false, 0},
		{"none", "~.\r~?~~", "~.\r~?~~", 0, false, 0},
		{"utf-8", "né\r~é~.日本\r", "né\r~é~.日本\r", '~', false, 0},
		{"pasted", "\x1b[200~a\n~.\n~?\x1b[201~\r", "\x1b[200~a\n~.\n~?\x1b[201~\r", '~', false, 0},
		{"after a paste", "\x1b[200~\n~.\x1b[201~\r~.", "\x1b[200~\n~.\x1b[201~\r", '~', true, 0},
		{"a broken paste marker", "\x1b[20\x1b[200x\r~.", "\x1b[20\x1b[200x\r", '~', true, 0},
		{"after the terminal's answer to a shell", "\x1b[5;1R~.", "\x1b[5;1R", '~', true, 0},
		{"after an answer within a line", "ls\x1b[5;3R~.\r", "ls\x1b[5;3R~.\r", '~', false, 0},
		{"after an arrow key", "\x1b[A~.\r", "\x1b[A~.\r", '~', false, 0},
		{"a repeated escape before the marker", "\x1b\x1b[200~\r~.", "\x1b\x1b[200~\r~.", '~', false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, read := range []func(io.Reader) io.Reader{whole, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
				helps := 0
				r := NewEscapeReader(read(strings.NewReader(tt.in)), EscapeOptions{Char: tt.char, Help: func() { helps++ }})
				got, err := io.ReadAll(r)
				if string(got) != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if errors.Is(err, ErrDisconnect) != tt.disconnect || !tt.disconnect && err != nil {
					t.Errorf("got error %v, want disconnect %v", err, tt.disconnect)
				}
				if helps != tt.helps {
					t.Errorf("help was shown %d times, want %d", helps, tt.helps)
				}
			}
		})
	}
}

func whole(r io.Reader) io.Reader { return r }

// pieces reads data in pieces of random size, empty reads included.
type pieces struct {
	data []byte
	rng  *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(len(p.data), p.rng.IntN(8))])
	p.data = p.data[n:]
	return n, nil
}

func TestDetachEscape(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		detach   bool
		called   int
	}{
		{"ls\r~d", "ls\r", true, 1},
		{"~d~d", "", true, 2},
		{"~d\r", "~d\r", false, 0},
		{"x~d", "x~d", true, 0},
	} {
		called := 0
		o := EscapeOptions{Char: '~'}
		if tt.detach {
			o.Detach = func() { called++ }
		}
		got, err := io.ReadAll(NewEscapeReader(strings.NewReader(tt.in), o))
		if err != nil || string(got) != tt.want || called != tt.called {
			t.Errorf("%q: %q, %v, called %d times", tt.in, got, err, called)
		}
	}
}

func TestInterrupt(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     bool
	}{
		{"the byte", "make\r\x03", true},
		{"after the escape character", "\r~\x03", true},
		{"kitty's", "\x1b[99;5u", true},
		{"kitty's with locks", "\x1b[99;197u", true},
		{"kitty's with alternatives", "\x1b[99::99;5:1u", true},
		{"kitty's release", "\x1b[99;5:3u", false},
		{"xterm's", "\x1b[27;5;99~", true},
		{"with shift", "\x1b[99;6u", false},
		{"another key", "\x1b[98;5u\x1b[27;5;98~\x1b[A\x1bc", false},
		{"pasted", "\x1b[200~\x03\x1b[201~", false},
		{"garbage", "\x1b[" + strings.Repeat("9", 99) + ";5u", false},
	} {
		for _, char := range []byte{0, '~'} {
			t.Run(tt.name, func(t *testing.T) {
				away := false
				for _, read := range []func(io.Reader) io.Reader{whole, iotest.OneByteReader} {
					got, err := io.ReadAll(NewEscapeReader(read(strings.NewReader(tt.in+"after")), EscapeOptions{
						Char: char, Interrupt: func() bool { return away },
					}))
					if err != nil || string(got) != tt.in+"after" {
						t.Errorf("not away: %q, %v", got, err)
					}
				}
				away = true
				_, err := io.ReadAll(NewEscapeReader(strings.NewReader(tt.in), EscapeOptions{
					Char: char, Interrupt: func() bool { return away },
				}))
				if errors.Is(err, ErrDisconnect) != tt.want {
					t.Errorf("away: %v", err)
				}
			})
		}
	}
}

// TestDetachComesLast: what was typed before it is read before it.
func TestDetachComesLast(t *testing.T) {
	var order []string
	r := NewEscapeReader(strings.NewReader("ls\r~dx\r~d"), EscapeOptions{
		Char: '~', Detach: func() { order = append(order, "detach") },
	})
	buf := make([]byte, 16)
	for {
		n, err := r.Read(buf)
		if err != nil {
			break
		}
		order = append(order, string(buf[:n]))
	}
	if want := []string{"ls\r", "detach", "x\r", "detach"}; !slices.Equal(order, want) {
		t.Errorf("got %q, want %q", order, want)
	}
}

// alphabet makes near-misses likely.
const alphabet = "~~\r\n\x1b[201~.?x\xc3\xa9\x00\xff"

func TestWithoutEscapesEverythingPasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		in := make([]byte, rng.IntN(200))
		for i := range in {
			in[i] = alphabet[rng.IntN(len(alphabet))]
		}
		in = withoutEscapes(in)
		got, err := io.ReadAll(NewEscapeReader(&pieces{in, rng}, EscapeOptions{Char: '~'}))
		if err != nil || !bytes.Equal(got, in) {
			t.Fatalf("%q came out as %q, %v", in, got, err)
		}
	}
}

// withoutEscapes breaks each tilde at the start of a line that an escape
// command follows.
func withoutEscapes(in []byte) []byte {
	for i, c := range in {
		lineStart := i == 0 || in[i-1] == '\r' || in[i-1] == '\n'
		if lineStart && c == '~' && i+1 < len(in) && strings.IndexByte(".?~", in[i+1]) >= 0 {
			in[i] = 'x'
		}
	}
	return in
}

func TestBytesBeforeAnEscapeAreNotDelayed(t *testing.T) {
	in, typed := io.Pipe()
	r := NewEscapeReader(in, EscapeOptions{Char: '~'})
	go func() { _, _ = typed.Write([]byte("make\r~")) }()
	buf := make([]byte, 16)
	n, err := r.Read(buf)
	if err != nil || string(buf[:n]) != "make\r" {
		t.Fatalf("read %q, %v before the escape was complete", buf[:n], err)
	}
	go func() { _, _ = typed.Write([]byte("/")) }()
	if n, err = io.ReadFull(r, buf[:2]); err != nil || string(buf[:n]) != "~/" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
}

func FuzzEscapeReader(f *testing.F) {
	f.Add([]byte("ls\r~.x"), uint64(1))
	f.Add([]byte("\x1b[200~\n~.\x1b[201~"), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		o := EscapeOptions{Char: '~'}
		want, wantErr := io.ReadAll(NewEscapeReader(bytes.NewReader(in), o))
		got, err := io.ReadAll(NewEscapeReader(&pieces{in, rand.New(rand.NewPCG(seed, 0))}, o))
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) {
			t.Fatalf("in pieces: %q, %v; whole: %q, %v", got, err, want, wantErr)
		}
	})
}
