package screen

import (
	"strconv"
	"strings"
)

// escape handles an escape sequence.
func (s *Screen) escape(intermediate, final byte) {
	switch intermediate {
	case 0:
		s.plainEscape(final)
	case '(', ')', '*', '+':
		s.charsets[intermediate-'('] = final
	case '-', '.', '/': // sets of 96 characters, of which UTF-8 has no need
		s.charsets[intermediate-'-'+1] = final
	case '#':
		if final == '8' { // DECALN
			s.region = s.whole()
			s.moveTo(0, 0)
			for y := range s.grid.lines {
				s.grid.lines[y].fill(0, s.cols, cell{r: 'E'})
			}
		}
	}
}

func (s *Screen) plainEscape(final byte) {
	switch final {
	case '7':
		s.save()
	case '8':
		s.restore()
	case '=', '>':
		s.setMode(66, final == '=')
	case 'D':
		s.index()
	case 'E':
		s.index()
		s.carriageReturn()
	case 'H':
		s.tabs[s.x] = true
	case 'M':
		s.reverseIndex()
	case 'N', 'O':
		s.single = int(final-'N') + 2
	case 'Z':
		s.ask("\x1b[?62;22c")
	case 'c':
		s.reset()
	case 'n', 'o':
		s.gl = int(final-'n') + 2
	}
}

// osc handles an operating system command.
func (s *Screen) osc(body string) {
	number, rest, _ := strings.Cut(body, ";")
	switch number {
	case "0", "1", "2":
		title := printable(rest)
		if number != "1" {
			s.title = title
		}
		if number != "2" {
			s.icon = title
		}
	case "7":
		s.directory = printable(rest)
	case "8":
		s.pen.link = ""
		if _, address, ok := strings.Cut(rest, ";"); ok && address != "" && printable(rest) == rest {
			s.pen.link = rest
		}
	case "4", "5", "10", "11", "12", "17", "19":
		if strings.Contains(rest, "?") {
			s.ask("")
			return
		}
		s.setColours(number, rest)
	case "104", "105", "110", "111", "112", "117", "119":
		s.resetColours(number[1:], rest)
	case "52", "1337", "99", "21":
		// The clipboard, and what terminals have of their own, may ask.
		if strings.Contains(rest, "?") || strings.HasPrefix(rest, "Report") {
			s.ask("")
		}
	}
}

// printable is a text without what a terminal would act on.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	for len(text) > maxTitle {
		text = strings.ToValidUTF8(text[:maxTitle], "")
	}
	return text
}

// setColours handles the palette, 4;index;colour;..., and the colours that have
// a number of their own, 10;foreground;background;....
func (s *Screen) setColours(number, rest string) {
	if s.colours == nil {
		s.colours = make(map[string]string)
	}
	values := strings.Split(rest, ";")
	if number == "4" || number == "5" {
		for i := 0; i+1 < len(values); i += 2 {
			s.setColour(number+";"+values[i], values[i+1])
		}
		return
	}
	at, _ := strconv.Atoi(number)
	for i, value := range values {
		if at+i > 19 {
			return
		}
		s.setColour(strconv.Itoa(at+i), value)
	}
}

// setColour keeps a colour as it was given. It takes no more of them than
// there are, and none that is no name or number.
func (s *Screen) setColour(key, value string) {
	if len(s.colours) < 300 && len(key) < 8 && len(value) < 64 && printable(value) == value && value != "" {
		s.colours[key] = value
	}
}

func (s *Screen) resetColours(number, rest string) {
	if number != "4" && number != "04" && number != "05" {
		delete(s.colours, number)
		return
	}
	number = strings.TrimPrefix(number, "0")
	for key := range s.colours {
		prefix, index, ok := strings.Cut(key, ";")
		if ok && prefix == number && (rest == "" || strings.Contains(";"+rest+";", ";"+index+";")) {
			delete(s.colours, key)
		}
	}
}

// text handles the other strings: of them, only questions matter here. Images
// are for the terminal that is attached.
func (s *Screen) text(kind byte, body string) {
	switch {
	case kind == 'P' && (strings.HasPrefix(body, "$q") || strings.HasPrefix(body, "+q")):
		// DECRQSS and XTGETTCAP: not known.
		s.ask("\x1bP0" + body[:1] + "r\x1b\\")
	case kind == '_' && strings.HasPrefix(body, "G"): // kitty's images answer
		s.ask("")
	}
}
