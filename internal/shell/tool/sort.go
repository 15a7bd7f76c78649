package tool

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A sortKey is what sort -k names: from a field and character to another, with
// flags of its own.
type sortKey struct {
	fromField, fromChar int
	toField, toChar     int // toField 0: to the end of the line; toChar 0: to the end of the field
	flags               string
}

// A sorter is one run of sort.
type sorter struct {
	o         options
	separator string
	keys      []sortKey
	global    string // the flags for all that have none
}

func sortTool(c *Context) int {
	o, ok := c.parse("bdfghiMnrRVcCuszmt:k:o:S:T:", "ignore-leading-blanks=b", "ignore-case=f", "general-numeric-sort=g",
		"human-numeric-sort=h", "month-sort=M", "numeric-sort=n", "reverse=r", "version-sort=V", "check=c", "unique=u", "stable=s",
		"zero-terminated=z", "merge=m", "field-separator=t", "key=k", "output=o")
	if !ok {
		return 2
	}
	s := &sorter{o: o, separator: o.value('t')}
	if s.separator == `\t` {
		s.separator = "\t"
	}
	for _, g := range o.given {
		if strings.IndexByte("bdfghinrVM", g.flag) >= 0 {
			s.global += string(rune(g.flag))
		}
	}
	for _, k := range o.values('k') {
		key, err := parseSortKey(k)
		if err != nil {
			return c.Usage("-k %s: %s", k, err)
		}
		if key.flags == "" {
			key.flags = s.global
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		s.keys = []sortKey{{fromField: 1, fromChar: 1, flags: s.global}}
	}
	end := byte('\n')
	if o.has("z") {
		end = 0
	}
	var all []string
	status := c.each(o.operands, func(_ string, r io.Reader) error {
		return records(r, end, func(line []byte, _ bool) bool {
			all = append(all, string(line))
			return c.Err() == nil
		})
	})
	if status != 0 {
		return 2
	}
	if o.has("cC") {
		return s.check(c, all)
	}
	slices.SortStableFunc(all, s.compare)
	if o.has("u") {
		all = slices.CompactFunc(all, func(a, b string) bool { return s.byKeys(a, b) == 0 })
	}
	return s.write(c, all, end)
}

func (s *sorter) write(c *Context, all []string, end byte) int {
	out := c.output()
	if name := s.o.value('o'); name != "" {
		f, err := os.Create(c.Path(name))
		if err != nil {
			return c.fail(name, err)
		}
		defer f.Close() //nolint:errcheck // done has flushed, and knows
		out = newOutput(f)
	}
	for _, line := range all {
		out.text(line)
		out.byte(end)
	}
	return out.done(0)
}

func (s *sorter) check(c *Context, all []string) int {
	for i := 1; i < len(all); i++ {
		if d := s.compare(all[i-1], all[i]); d > 0 || d == 0 && s.o.has("u") {
			if s.o.has("c") {
				c.Errorf("line %d is out of order: %s", i+1, all[i])
			}
			return 1
		}
	}
	return 0
}

// compare is by the keys, and then by the whole lines.
func (s *sorter) compare(a, b string) int {
	if d := s.byKeys(a, b); d != 0 || s.o.has("su") {
		return d
	}
	if strings.Contains(s.global, "r") {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

func (s *sorter) byKeys(a, b string) int {
	for _, k := range s.keys {
		d := k.compare(s.part(a, k), s.part(b, k))
		if strings.Contains(k.flags, "r") {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return 0
}

func (k sortKey) compare(a, b string) int {
	switch {
	case strings.Contains(k.flags, "n"):
		return compareNumbers(a, b)
	case strings.Contains(k.flags, "g"):
		return cmp.Compare(leadingFloat(a), leadingFloat(b))
	case strings.Contains(k.flags, "h"):
		if d := cmp.Compare(humanUnit(a), humanUnit(b)); d != 0 {
			return d
		}
		return compareNumbers(a, b)
	case strings.Contains(k.flags, "M"):
		return cmp.Compare(month(a), month(b))
	case strings.Contains(k.flags, "V"):
		return compareVersions(a, b)
	}
	if strings.ContainsAny(k.flags, "fdi") {
		a, b = k.folded(a), k.folded(b)
	}
	return strings.Compare(a, b)
}

func (k sortKey) folded(s string) string {
	if strings.Contains(k.flags, "f") {
		s = strings.ToUpper(s)
	}
	if strings.Contains(k.flags, "d") {
		s = strings.Map(func(r rune) rune {
			if r == ' ' || r == '\t' || inClass("alnum", r) {
				return r
			}
			return -1
		}, s)
	}
	return s
}

// parseSortKey reads F[.C][flags][,F[.C][flags]].
func parseSortKey(text string) (sortKey, error) {
	from, to, two := strings.Cut(text, ",")
	k := sortKey{fromChar: 1}
	var err error
	if k.fromField, k.fromChar, err = k.position(from, 1); err != nil || k.fromField < 1 || k.fromChar < 1 {
		return k, errors.New("it needs the form FIELD[.CHARACTER]")
	}
	if two {
		if k.toField, k.toChar, err = k.position(to, 0); err != nil || k.toField < 1 {
			return k, errors.New("it needs the form FIELD[.CHARACTER]")
		}
	}
	return k, nil
}

func (k *sortKey) position(s string, absent int) (field, char int, err error) {
	end := len(strings.TrimRight(s, "bdfghinrVM"))
	k.flags += s[end:]
	f, c, dotted := strings.Cut(s[:end], ".")
	if field, err = strconv.Atoi(f); err != nil {
		return 0, 0, err
	}
	if char = absent; dotted {
		char, err = strconv.Atoi(c)
	}
	return field, char, err
}

// part is what of a line a key is about.
func (s *sorter) part(line string, k sortKey) string {
	if k.fromField == 1 && k.fromChar == 1 && k.toField == 0 && !strings.Contains(k.flags, "b") {
		return line
	}
	start := s.field(line, k.fromField)
	if strings.Contains(k.flags, "b") {
		start += len(line[start:]) - len(strings.TrimLeft(line[start:], " \t"))
	}
	start = min(start+k.fromChar-1, len(line))
	end := len(line)
	switch {
	case k.toField > 0 && k.toChar == 0:
		end = s.field(line, k.toField+1)
		if s.separator != "" && end > 0 && end <= len(line) && strings.HasSuffix(line[:end], s.separator) && end > s.field(line, k.toField) {
			end -= len(s.separator)
		}
	case k.toField > 0:
		end = min(s.field(line, k.toField)+k.toChar, len(line))
	}
	return line[start:max(start, end)]
}

// field is where a field of a line begins, with the blanks before it if blanks
// separate fields.
func (s *sorter) field(line string, n int) int {
	at := 0
	for ; n > 1 && at < len(line); n-- {
		if s.separator != "" {
			i := strings.Index(line[at:], s.separator)
			if i < 0 {
				return len(line)
			}
			at += i + len(s.separator)
			continue
		}
		for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
			at++
		}
		for at < len(line) && line[at] != ' ' && line[at] != '\t' {
			at++
		}
	}
	return at
}

// leadingNumber is the number that a text begins with, without what is behind it.
func leadingNumber(s string) string {
	s = strings.TrimLeft(s, " \t")
	end := 0
	if strings.HasPrefix(s, "-") {
		end = 1
	}
	dot := false
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' && !dot) {
		dot = dot || s[end] == '.'
		end++
	}
	return s[:end]
}

func leadingFloat(s string) float64 {
	s = strings.TrimSpace(s)
	for end := len(s); end > 0; end-- {
		if f, err := strconv.ParseFloat(s[:end], 64); err == nil {
			return f
		}
	}
	return -1e308
}

// compareNumbers compares as numbers of any length.
func compareNumbers(a, b string) int {
	a, b = leadingNumber(a), leadingNumber(b)
	fa, ea := strconv.ParseFloat(a, 64)
	fb, eb := strconv.ParseFloat(b, 64)
	if ea != nil {
		fa = 0
	}
	if eb != nil {
		fb = 0
	}
	return cmp.Compare(fa, fb)
}

func humanUnit(s string) int {
	n := leadingNumber(s)
	if strings.Trim(n, "0.-") == "" {
		return 0
	}
	rest := strings.TrimLeft(s, " \t")[len(n):]
	unit := 1
	if rest != "" {
		unit = strings.IndexByte("KMGTPE", strings.ToUpper(rest)[0]) + 2
	}
	if strings.HasPrefix(n, "-") {
		return -unit
	}
	return unit
}

func month(s string) int {
	s = strings.ToUpper(strings.TrimLeft(s, " \t"))
	if len(s) < 3 {
		return 0
	}
	return (strings.Index("JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", s[:3]) + 3) / 3
}

// compareVersions compares digits as numbers, and all else as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if na, nb := leadingDigits(a), leadingDigits(b); na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if d := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); d != 0 {
				return d
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}
