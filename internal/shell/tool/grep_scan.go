package tool

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

// A scan is grep's way through one file.
type scan struct {
	*grepper
	name   string
	number int64 // of the line that text begins with, from 1
	found  int64
	binary bool
	done   bool

	// With lines of context only.
	past     []string // the lines before, at most g.before
	trailing int64    // lines still to be shown behind a match
	shown    int64    // number of the line that was shown last
}

// scan looks into one file, in pieces that end with a line.
func (g *grepper) scan(name string, r io.Reader) {
	s := &scan{grepper: g, name: name, number: 1, done: g.limit == 0}
	if g.buf == nil {
		g.buf = make([]byte, 0, 2*chunk)
	}
	buf := g.buf[:0]
	for first := true; !s.done; {
		n, err := io.ReadAtLeast(r, buf[len(buf):cap(buf)], 1)
		buf = buf[:len(buf)+n]
		if first && n > 0 {
			s.binary = !g.o.has("a") && bytes.IndexByte(buf, 0) >= 0
			if first = false; s.binary && g.o.has("I") {
				break
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				g.complain(name, err)
			}
			s.piece(buf)
			break
		}
		end := bytes.LastIndexByte(buf, '\n') + 1
		if end > 0 {
			s.piece(buf[:end])
			buf = buf[:copy(buf, buf[end:])]
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		if g.out.failed() || g.c.Err() != nil {
			return
		}
	}
	g.buf = buf
	s.end()
}

// end writes what is known of a file only at its end.
func (s *scan) end() {
	switch {
	case s.quiet:
	case s.list:
		if s.found > 0 == (s.o.last("lL") == 'l') {
			s.hits = true
			s.out.line(s.paint(s.name, "35"))
		}
	case s.count:
		if s.names {
			s.prefix(":")
		}
		s.out.line(strconv.FormatInt(s.found, 10))
	}
}

// piece looks into whole lines.
func (s *scan) piece(text []byte) {
	if s.invert || s.o.has("ABC") {
		for len(text) > 0 && !s.done {
			line, rest, _ := bytes.Cut(text, []byte{'\n'})
			s.slow(line)
			text = rest
			s.number++
		}
		return
	}
	s.prepare(text)
	at := 0 // where line s.number begins
	for from := 0; from < len(text) && !s.done; {
		i, fits := s.candidate(text, from)
		if i < 0 || i >= len(text) {
			break
		}
		start := bytes.LastIndexByte(text[:i], '\n') + 1
		stop := len(text)
		if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
			stop = i + n
		}
		from = stop + 1
		line := text[start:stop]
		if !fits && !s.re.Match(line) {
			continue
		}
		if s.numbers {
			s.number += int64(bytes.Count(text[at:start], []byte{'\n'}))
			at = start
		}
		s.hit(line)
	}
	if s.numbers {
		s.number += int64(bytes.Count(text[at:], []byte{'\n'}))
	}
}

// slow is for lines of which more than the matching ones are shown.
func (s *scan) slow(line []byte) {
	if s.matches(line) != s.invert {
		first := s.number - int64(len(s.past))
		if s.o.has("ABC") && s.shows() && s.lastEnd && (s.shown == 0 || first > s.shown+1) {
			s.out.line(s.paint("--", "36"))
		}
		for i, text := range s.past {
			s.show([]byte(text), first+int64(i), "-")
		}
		s.past = s.past[:0]
		s.hit(line)
		s.trailing, s.shown, s.lastEnd = s.after, s.number, true
		if s.limit >= 0 && s.found >= s.limit {
			s.done = s.after == 0
		}
		return
	}
	switch {
	case s.trailing > 0:
		s.trailing--
		s.show(line, s.number, "-")
		s.shown = s.number
		s.done = s.trailing == 0 && s.limit >= 0 && s.found >= s.limit
	case s.before > 0:
		if int64(len(s.past)) == s.before {
			s.past = append(s.past[:0], s.past[1:]...)
		}
		s.past = append(s.past, string(line))
	}
}

func (s *scan) shows() bool { return !s.quiet && !s.list && !s.count && !s.binary }

// hit is a line that was looked for.
func (s *scan) hit(line []byte) {
	s.found++
	if s.o.last("lL") != 'L' {
		s.hits = true
	}
	if s.quiet || s.list {
		s.done = true
		return
	}
	if s.limit >= 0 && s.found >= s.limit && s.after == 0 {
		s.done = true
	}
	if s.count {
		return
	}
	if s.binary {
		s.out.flush()
		s.c.Errorf("%s: binary file matches", s.name)
		s.done = true
		return
	}
	if !s.only {
		s.show(line, s.number, ":")
		return
	}
	if s.invert {
		return
	}
	for _, m := range s.find(line) {
		if m[0] == m[1] {
			continue
		}
		s.labels(s.number, ":")
		s.out.line(s.paint(string(line[m[0]:m[1]]), "1;31"))
	}
}

// show writes one line; mark is a colon for one that matches.
func (s *scan) show(line []byte, number int64, mark string) {
	if !s.shows() || mark == "-" && s.only {
		return
	}
	s.labels(number, mark)
	if s.colour && mark == ":" && !s.invert {
		at := 0
		for _, m := range s.find(line) {
			s.out.text(string(line[at:m[0]]) + s.paint(string(line[m[0]:m[1]]), "1;31"))
			at = m[1]
		}
		line = line[at:]
	}
	_, err := s.out.Write(line)
	s.out.keep(err)
	s.out.byte('\n')
}

func (s *scan) labels(number int64, mark string) {
	if s.names {
		s.prefix(mark)
	}
	if s.numbers {
		s.out.text(s.paint(strconv.FormatInt(number, 10), "32") + s.paint(mark, "36"))
	}
}

func (s *scan) prefix(mark string) { s.out.text(s.paint(s.name, "35") + s.paint(mark, "36")) }

func (g *grepper) paint(text, colour string) string {
	if !g.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
