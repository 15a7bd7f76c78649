package tool

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

func uniq(c *Context) int {
	o, ok := c.parse("cduif:s:w:", "count=c", "repeated=d", "unique=u", "ignore-case=i", "skip-fields=f", "skip-chars=s", "check-chars=w")
	if !ok {
		return 2
	}
	var limits [3]int
	for i, flag := range []byte("fsw") {
		n, err := o.number(flag, -1)
		if err != nil {
			return c.Usage("-%c needs a number", flag)
		}
		limits[i] = int(n)
	}
	key := func(s string) string { return uniqKey(s, limits, o.has("i")) }
	out := c.output()
	if len(o.operands) > 1 {
		f, err := os.Create(c.Path(o.operands[1]))
		if err != nil {
			return c.fail(o.operands[1], err)
		}
		defer f.Close() //nolint:errcheck // done has flushed, and knows
		out = newOutput(f)
	}
	line, n := "", 0
	show := func() {
		if n == 0 || o.has("d") && n == 1 || o.has("u") && n > 1 {
			return
		}
		if o.has("c") {
			out.printf("%7d ", n)
		}
		out.line(line)
	}
	status := c.each(o.operands[:min(1, len(o.operands))], func(_ string, r io.Reader) error {
		return lines(patient{r, out}, func(text []byte, _ bool) bool {
			if n > 0 && key(line) == key(string(text)) {
				n++
				return true
			}
			show()
			line, n = string(text), 1
			return !out.failed()
		})
	})
	show()
	return out.done(status)
}

// uniqKey is what of a line uniq compares: without so many fields and characters,
// and no more than so many; less than 0 is no limit.
func uniqKey(s string, limits [3]int, fold bool) string {
	for range limits[0] {
		s = strings.TrimLeft(s, " \t")
		s = s[len(s)-len(strings.TrimLeftFunc(s, func(r rune) bool { return r != ' ' && r != '\t' })):]
	}
	s = s[min(len(s), max(0, limits[1])):]
	if limits[2] >= 0 {
		s = s[:min(len(s), limits[2])]
	}
	if fold {
		s = strings.ToLower(s)
	}
	return s
}

// A rangeList is 1,3-5,7-: which fields or characters cut shows.
type rangeList [][2]int

func parseRanges(s string) (rangeList, error) {
	var all rangeList
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		from, to, span := strings.Cut(part, "-")
		r := [2]int{1, 1 << 60}
		var err error
		if from != "" {
			if r[0], err = strconv.Atoi(from); err != nil || r[0] < 1 {
				return nil, errors.New("places are counted from 1: " + part)
			}
		}
		switch {
		case !span:
			r[1] = r[0]
		case to != "":
			if r[1], err = strconv.Atoi(to); err != nil || r[1] < r[0] {
				return nil, errors.New("not a range: " + part)
			}
		case from == "":
			return nil, errors.New("not a range: " + part)
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, errors.New("a list such as 1,3-5 is needed")
	}
	return all, nil
}

func (l rangeList) has(n int) bool {
	for _, r := range l {
		if n >= r[0] && n <= r[1] {
			return true
		}
	}
	return false
}

func cutTool(c *Context) int {
	o, ok := c.parse("b:c:f:d:nsz1:2", "bytes=b", "characters=c", "fields=f", "delimiter=d", "only-delimited=s", "output-delimiter=1", "complement=2")
	if !ok {
		return 2
	}
	mode := o.last("bcf")
	if mode == 0 {
		return c.Usage("one of -b, -c and -f is needed")
	}
	list, err := parseRanges(o.value(mode))
	if err != nil {
		return c.Usage("%s", err)
	}
	delimiter := "\t"
	if o.has("d") {
		delimiter = o.value('d')
	}
	with := delimiter
	if o.has("1") {
		with = o.value('1')
	}
	wanted := func(n int) bool { return list.has(n) != o.has("2") }
	out := c.output()
	status := c.each(o.operands, func(_ string, r io.Reader) error {
		return lines(patient{r, out}, func(line []byte, _ bool) bool {
			text := string(line)
			switch {
			case mode != 'f':
				text = cutBytes(line, wanted)
			case strings.Contains(text, delimiter):
				text = cutFields(strings.Split(text, delimiter), with, wanted)
			case o.has("s"):
				return true
			}
			out.line(text)
			return !out.failed()
		})
	})
	return out.done(status)
}

// cutBytes counts bytes, even for characters, as coreutils do.
func cutBytes(line []byte, wanted func(int) bool) string {
	var kept []byte
	for i, b := range line {
		if wanted(i + 1) {
			kept = append(kept, b)
		}
	}
	return string(kept)
}

func cutFields(fields []string, with string, wanted func(int) bool) string {
	var kept []string
	for i, field := range fields {
		if wanted(i + 1) {
			kept = append(kept, field)
		}
	}
	return strings.Join(kept, with)
}

// expandSet lists the characters of a set of tr: a-z, [:lower:], \n, \012, [x*3].
func expandSet(s string, size int) ([]rune, error) {
	var all []rune
	for i := 0; i < len(s); {
		if found, n, err := bracketSet(s[i:], size-len(all)); n > 0 || err != nil {
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
			i += n
			continue
		}
		r, n := setCharacter(s[i:])
		if i += n; i+1 < len(s) && s[i] == '-' {
			last, m := setCharacter(s[i+1:])
			if last < r {
				return nil, errors.New("the range ends before it begins")
			}
			for ; r <= last; r++ {
				all = append(all, r)
			}
			i += 1 + m
			continue
		}
		all = append(all, r)
	}
	return all, nil
}

// bracketSet reads [:class:] and [c*n], of n bytes; without n it is as many as are
// missing. n is 0 if there is neither.
func bracketSet(s string, missing int) (found []rune, n int, err error) {
	if end := strings.Index(s, ":]"); end > 0 && strings.HasPrefix(s, "[:") {
		for r := rune(0); r < 128; r++ {
			if inClass(s[2:end], r) {
				found = append(found, r)
			}
		}
		return found, end + 2, nil
	}
	end := strings.IndexByte(s, ']')
	if s[0] != '[' || end < 3 || s[2] != '*' {
		return nil, 0, nil
	}
	count := max(0, missing)
	if text := s[3:end]; text != "" {
		if count, err = strconv.Atoi(text); err != nil {
			return nil, 0, err
		}
	}
	for range count {
		found = append(found, rune(s[1]))
	}
	return found, end + 1, nil
}

func setCharacter(s string) (rune, int) {
	if s[0] != '\\' || len(s) == 1 {
		return utf8.DecodeRuneInString(s)
	}
	if at := strings.IndexByte("ntrabfv\\", s[1]); at >= 0 {
		return rune("\n\t\r\a\b\f\v\\"[at]), 2
	}
	end := 1
	for end < len(s) && end < 4 && s[end] >= '0' && s[end] <= '7' {
		end++
	}
	if n, err := strconv.ParseInt(s[1:end], 8, 32); err == nil {
		return rune(n), end
	}
	r, n := utf8.DecodeRuneInString(s[1:])
	return r, n + 1
}

// A translation is one run of tr.
type translation struct {
	in        map[rune]int // the place in the first set
	to        []rune
	squeezed  map[rune]bool
	invert    bool
	remove    bool
	squeeze   bool
	last      rune
	lastAdded bool
}

func tr(c *Context) int {
	o, ok := c.parse("+cCdst", "complement=c", "delete=d", "squeeze-repeats=s", "truncate-set1=t")
	if !ok {
		return 2
	}
	sets := o.operands
	if len(sets) == 0 || len(sets) > 2 || len(sets) == 1 && !o.has("ds") {
		return c.Usage("tr [-cds] SET [SET]")
	}
	first, err := expandSet(sets[0], 0)
	var second []rune
	if err == nil && len(sets) == 2 {
		second, err = expandSet(sets[1], len(first))
	}
	if err != nil {
		return c.Usage("%s", err)
	}
	t := translation{in: map[rune]int{}, squeezed: map[rune]bool{}, invert: o.has("cC"), remove: o.has("d"), squeeze: o.has("s"), last: -1}
	for i, r := range first {
		t.in[r] = i
	}
	if !t.remove {
		t.to = second
	}
	if len(t.to) > 0 && !o.has("t") {
		for len(t.to) < len(first) {
			t.to = append(t.to, t.to[len(t.to)-1])
		}
	}
	last := second
	if len(sets) == 1 {
		last = first
	}
	for _, r := range last {
		t.squeezed[r] = true
	}
	out := c.output()
	status := c.each(nil, func(_ string, r io.Reader) error { return t.copy(out, patient{r, out}, len(sets) == 1) })
	return out.done(status)
}

func (t *translation) copy(out *output, r io.Reader, single bool) error {
	buf, kept := make([]byte, chunk), 0
	for {
		n, err := r.Read(buf[kept:])
		b := buf[:kept+n]
		for len(b) > 0 && (utf8.FullRune(b) || err != nil) {
			ch, size := utf8.DecodeRune(b)
			if ch == utf8.RuneError && size == 1 {
				ch = rune(b[0]) | 1<<24 // a byte that is no character stays as it is
			}
			b = b[size:]
			t.one(out, ch, single)
		}
		kept = copy(buf, b)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case out.failed():
			return errStop
		}
	}
}

func (t *translation) one(out *output, ch rune, single bool) {
	at, in := t.in[ch]
	in = in != t.invert
	if in && t.remove {
		return
	}
	if in && len(t.to) > 0 {
		if t.invert {
			ch = t.to[len(t.to)-1]
		} else if at < len(t.to) {
			ch = t.to[at]
		}
	}
	if t.squeeze {
		squeezed := t.squeezed[ch]
		if single && t.invert {
			squeezed = !squeezed
		}
		if squeezed && t.lastAdded && t.last == ch {
			return
		}
	}
	t.last, t.lastAdded = ch, true
	if ch >= 1<<24 {
		out.byte(byte(ch))
		return
	}
	out.text(string(ch))
}
