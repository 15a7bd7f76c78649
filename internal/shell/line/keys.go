package line

import (
	"strings"
	"unicode/utf8"
)

// A key is a character, a pasted text, or a key by its name.
type key struct {
	r      rune
	name   string
	pasted []rune
}

func (s *session) byte() (byte, error) {
	var b [1]byte
	for {
		n, err := s.Read(b[:])
		if n == 1 {
			return b[0], nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// key reads the next key.
func (s *session) key() (key, error) {
	b, err := s.byte()
	if err != nil {
		return key{}, err
	}
	switch {
	case b == '\r' || b == '\n':
		return key{name: "enter"}, nil
	case b == '\t':
		return key{name: "tab"}, nil
	case b == 8 || b == 127:
		return key{name: "backspace"}, nil
	case b == 27:
		return s.escape()
	case b == 'X'-'@':
		next, err := s.byte()
		if next < ' ' {
			return key{name: "^X^" + string(rune(next+'@'))}, err
		}
		return key{name: "none"}, err
	case b < ' ':
		return key{name: "^" + string(rune(b+'@'))}, nil
	}
	r, err := s.character(b)
	return key{r: r}, err
}

// character reads the rest of an encoded character.
func (s *session) character(first byte) (rune, error) {
	buf := []byte{first}
	for !utf8.FullRune(buf) {
		b, err := s.byte()
		if err != nil {
			return 0, err
		}
		buf = append(buf, b)
	}
	r, _ := utf8.DecodeRune(buf)
	return r, nil
}

// escape reads what a key sends after an Escape, or a key with Alt.
func (s *session) escape() (key, error) {
	b, err := s.byte()
	if err != nil {
		return key{}, err
	}
	switch {
	case b == '[':
		return s.sequence()
	case b == 'O':
		final, err := s.byte()
		return key{name: letterKey(final, "")}, err
	case b == 27:
		return s.escape()
	case b == 8 || b == 127:
		return key{name: "alt-backspace"}, nil
	case b > ' ' && b < 127:
		return key{name: "alt-" + strings.ToLower(string(rune(b)))}, nil
	}
	return key{name: "none"}, nil
}

// sequence reads a control sequence: parameters and a final letter.
func (s *session) sequence() (key, error) {
	var params []byte
	for {
		b, err := s.byte()
		switch {
		case err != nil:
			return key{}, err
		case b >= '@' && b <= '~':
			return s.named(string(params), b)
		case len(params) > 32:
			return key{name: "none"}, nil
		}
		params = append(params, b)
	}
}

func (s *session) named(params string, final byte) (key, error) {
	if final != '~' {
		return key{name: letterKey(final, params)}, nil
	}
	number, _, _ := strings.Cut(params, ";")
	switch number {
	case "1", "7":
		return key{name: "home"}, nil
	case "4", "8":
		return key{name: "end"}, nil
	case "3":
		return key{name: "delete"}, nil
	case "5":
		return key{name: "pageup"}, nil
	case "6":
		return key{name: "pagedown"}, nil
	case "200":
		return s.paste()
	}
	return key{name: "none"}, nil
}

func letterKey(final byte, params string) string {
	prefix := ""
	if _, modifier, ok := strings.Cut(params, ";"); ok {
		switch modifier {
		case "5":
			prefix = "ctrl-"
		case "3":
			prefix = "alt-"
		}
	}
	switch final {
	case 'A':
		return "up"
	case 'B':
		return "down"
	case 'C':
		return prefix + "right"
	case 'D':
		return prefix + "left"
	case 'H':
		return "home"
	case 'F':
		return "end"
	}
	return "none"
}

// maxPaste is the longest text that is taken as one paste.
const maxPaste = 1 << 20

// paste reads a pasted text up to the sequence that ends it. What it contains
// is text, and no key.
func (s *session) paste() (key, error) {
	const end = "\x1b[201~"
	var text []byte
	for !strings.HasSuffix(string(text[max(0, len(text)-len(end)):]), end) {
		b, err := s.byte()
		if err != nil {
			return key{}, err
		}
		if text = append(text, b); len(text) > maxPaste+len(end) {
			text = append(text[:maxPaste-1], text[len(text)-len(end):]...)
		}
	}
	pasted := strings.TrimSuffix(string(text), end)
	pasted = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(pasted)
	return key{pasted: []rune(strings.ToValidUTF8(pasted, "\uFFFD"))}, nil
}
