package tool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// digits is the number of a command line such as head -20.
func (o options) digits() string {
	var b strings.Builder
	for _, g := range o.given {
		if g.flag >= '0' && g.flag <= '9' {
			b.WriteByte(g.flag)
		}
	}
	return b.String()
}

// A part is how much of a file head and tail show.
type part struct {
	n     int64
	bytes bool
	other bool // head: all but the last n; tail: from the nth
}

// newPart reads the flags that head and tail share; sign is what makes a number
// count from the other end.
func newPart(o options, sign string) (part, error) {
	text, p := "10", part{}
	switch {
	case o.has("c"):
		text, p.bytes = o.value('c'), true
	case o.has("n"):
		text = o.value('n')
	case o.digits() != "":
		text = o.digits()
	}
	if strings.HasPrefix(text, sign) {
		p.other = true
	}
	var err error
	p.n, err = size(strings.TrimLeft(text, "+-"))
	return p, err
}

// heading is the line between files of head and tail.
func heading(out *output, o options, first *bool, name string) {
	if (len(o.operands) < 2 || o.has("q")) && !o.has("v") {
		return
	}
	if !*first {
		out.byte('\n')
	}
	*first = false
	if name == "-" {
		name = "standard input"
	}
	out.text("==> " + name + " <==\n")
}

func head(c *Context) int {
	o, ok := c.parse("n:c:qv0123456789", "lines=n", "bytes=c", "quiet=q", "silent=q", "verbose=v")
	if !ok {
		return 2
	}
	p, err := newPart(o, "-")
	if err != nil {
		return c.Usage("not a number of lines or bytes")
	}
	out, first := c.output(), true
	status := c.each(o.operands, func(name string, r io.Reader) error {
		heading(out, o, &first, name)
		return p.head(out, patient{r, out})
	})
	return out.done(status)
}

func (p part) head(out *output, r io.Reader) error {
	switch {
	case p.bytes && !p.other:
		_, err := io.Copy(out, io.LimitReader(r, p.n))
		return err
	case p.bytes:
		all, err := io.ReadAll(r)
		_, werr := out.Write(all[:max(0, len(all)-int(p.n))])
		return errors.Join(err, werr)
	case p.n == 0 && !p.other:
		return nil
	}
	var kept []string // the last n, when all but those are wanted
	n := int64(0)
	return lines(r, func(line []byte, last bool) bool {
		n++
		if p.other {
			kept = append(kept, string(line))
			if int64(len(kept)) <= p.n {
				return true
			}
			out.line(kept[0])
			kept = kept[1:]
			return !out.failed()
		}
		_, err := out.Write(line)
		if !last {
			out.byte('\n')
		}
		return err == nil && n < p.n
	})
}

func tail(c *Context) int {
	if len(c.Args) > 1 && len(c.Args[1]) > 1 && c.Args[1][0] == '+' { // tail +5
		args := append([]string{c.Args[0], "-n", c.Args[1]}, c.Args[2:]...)
		n := *c
		n.Args = args
		c = &n
	}
	o, ok := c.parse("n:c:qvfFs:0123456789", "lines=n", "bytes=c", "quiet=q", "silent=q", "verbose=v", "follow=f",
		"sleep-interval=s")
	if !ok {
		return 2
	}
	p, err := newPart(o, "+")
	if err != nil {
		return c.Usage("not a number of lines or bytes")
	}
	every := time.Second
	if o.has("s") {
		if every, err = duration(o.value('s')); err != nil || every <= 0 {
			return c.Usage("not a time: %s", o.value('s'))
		}
	}
	f := follower{c: c, o: o, out: c.output(), every: every, first: true}
	status := c.each(o.operands, func(name string, r io.Reader) error {
		heading(f.out, o, &f.first, name)
		f.last = name
		if err := p.tail(f.out, r); err != nil {
			return err
		}
		if o.has("fF") && name != "-" {
			return f.add(name, r)
		}
		return nil
	})
	if o.has("fF") {
		f.run()
	}
	return f.out.done(status)
}

func (p part) tail(out *output, r io.Reader) error {
	if p.other {
		return p.from(out, r)
	}
	if f, ok := fileOf(r); ok {
		if done, err := p.end(out, f); done || err != nil {
			return err
		}
	}
	if p.bytes {
		last := lastBytes{n: int(p.n)}
		_, err := io.Copy(&last, r)
		_, werr := out.Write(last.kept[max(0, len(last.kept)-last.n):])
		return errors.Join(err, werr)
	}
	if p.n == 0 {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	ring, n := make([]string, 0, min(p.n, 1024)), int64(0)
	err := lines(r, func(line []byte, last bool) bool {
		text := string(line)
		if !last {
			text += "\n"
		}
		if int64(len(ring)) < p.n {
			ring = append(ring, text)
		} else {
			ring[n%p.n] = text
		}
		n++
		return true
	})
	for i := range int64(len(ring)) {
		at := i
		if int64(len(ring)) == p.n {
			at = (n + i) % p.n
		}
		out.text(ring[at])
	}
	return err
}

// A lastBytes keeps the last n bytes written to it, and a few more.
type lastBytes struct {
	n    int
	kept []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p...)
	if len(l.kept) > 2*l.n+chunk {
		l.kept = l.kept[:copy(l.kept, l.kept[len(l.kept)-l.n:])]
	}
	return len(p), nil
}

// from shows what begins with line or byte n.
func (p part) from(out *output, r io.Reader) error {
	if p.bytes {
		if _, err := io.CopyN(io.Discard, r, max(0, p.n-1)); err != nil {
			return nil //nolint:nilerr // the file is shorter: nothing is shown
		}
		_, err := io.Copy(out, r)
		return err
	}
	n := int64(0)
	return lines(patient{r, out}, func(line []byte, last bool) bool {
		if n++; n >= p.n {
			out.text(string(line))
			if !last {
				out.byte('\n')
			}
		}
		return !out.failed()
	})
}

// end shows the end of a file without reading what is before it. It is not done
// if the file has no known size.
func (p part) end(out *output, f *os.File) (done bool, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false, nil //nolint:nilerr // then it is read from its beginning
	}
	start := max(0, info.Size()-p.n)
	if !p.bytes {
		if start, err = lineFromEnd(f, info.Size(), p.n); err != nil {
			return false, err
		}
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return false, err
	}
	_, err = io.Copy(out, f)
	return true, err
}

// lineFromEnd is where the last n lines of a file begin.
func lineFromEnd(f *os.File, end, n int64) (int64, error) {
	if n == 0 {
		return end, nil
	}
	buf := make([]byte, chunk)
	found := int64(-1) // the newline at the very end ends a line, it begins none
	for at := end; at > 0; {
		from := max(0, at-chunk)
		b := buf[:at-from]
		if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if at == end && b[len(b)-1] != '\n' {
			found = 0
		}
		for i := len(b); i > 0; {
			if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
				break
			}
			if found++; found == n {
				return from + int64(i) + 1, nil
			}
		}
		at = from
	}
	return 0, nil
}

// A follower shows what files grow by.
type follower struct {
	c     *Context
	o     options
	out   *output
	every time.Duration
	files []*followed
	first bool
	last  string // the file of which something was shown last
}

type followed struct {
	name string
	f    *os.File
	at   int64
}

// add keeps on reading a file from where it has been read to.
func (w *follower) add(name string, r io.Reader) error {
	old, ok := fileOf(r)
	if !ok {
		return nil
	}
	at, err := old.Seek(0, io.SeekCurrent)
	if err != nil { // a pipe: it is read at its end, and has no other place
		return nil //nolint:nilerr // see above
	}
	f, err := os.Open(w.c.Path(name))
	if err == nil {
		w.files = append(w.files, &followed{name, f, at})
	}
	return err
}

func (w *follower) run() {
	defer func() {
		for _, f := range w.files {
			closeRead(f.f)
		}
	}()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for len(w.files) > 0 && !w.out.failed() {
		w.out.flush()
		select {
		case <-w.c.Done():
			return
		case <-tick.C:
		}
		for _, f := range w.files {
			w.more(f)
		}
	}
}

// more shows what has come to one file. One that became shorter is read from its
// beginning; with -F another one that has its name now, too.
func (w *follower) more(f *followed) {
	info, err := f.f.Stat()
	if err != nil {
		return
	}
	if w.o.has("F") {
		if now, err := os.Stat(w.c.Path(f.name)); err == nil && !os.SameFile(info, now) {
			if other, err := os.Open(w.c.Path(f.name)); err == nil {
				closeRead(f.f)
				f.f, f.at, info = other, 0, now
			}
		}
	}
	if info.Size() < f.at {
		f.at = 0
	}
	if info.Size() == f.at {
		return
	}
	if w.last != f.name {
		heading(w.out, w.o, &w.first, f.name)
		w.last = f.name
	}
	n, err := io.Copy(w.out, io.NewSectionReader(f.f, f.at, 1<<62))
	f.at += n
	w.out.keep(err)
}
