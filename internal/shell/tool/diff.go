package tool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// cmpTool compares two files byte by byte.
func cmpTool(c *Context) int {
	o, ok := c.parse("lsn:bi:", "verbose=l", "quiet=s", "silent=s", "bytes=n")
	if !ok {
		return 2
	}
	if len(o.operands) < 1 || len(o.operands) > 2 {
		return c.Usage("cmp FILE [FILE]")
	}
	names := append(o.operands[:1:1], append(o.operands[1:], "-")[0])
	limit, err := o.number('n', 1<<62)
	if err != nil {
		return c.Usage("-n needs a number")
	}
	var readers [2]*bufio.Reader
	for i, name := range names {
		r, err := c.open(name)
		if err != nil {
			c.fail(name, err)
			return 2
		}
		defer closeRead(r)
		readers[i] = bufio.NewReaderSize(io.LimitReader(r, limit), chunk)
	}
	out := c.output()
	return out.done(compareBytes(c, o, out, names, readers))
}

// compareBytes says where the files differ first; with -l, everywhere.
func compareBytes(c *Context, o options, out *output, names []string, readers [2]*bufio.Reader) (status int) {
	line := 1
	for at := int64(1); c.Err() == nil && !out.failed(); at++ {
		a, aerr := readers[0].ReadByte()
		b, berr := readers[1].ReadByte()
		switch {
		case aerr != nil && berr != nil:
			return status
		case aerr != nil || berr != nil:
			if !o.has("s") {
				out.flush()
				name := names[0]
				if berr != nil {
					name = names[1]
				}
				c.Errorf("EOF on %s after byte %d", name, at-1)
			}
			return 1
		case a != b && o.has("s"):
			return 1
		case a != b && o.has("l"):
			out.printf("%d %3o %3o\n", at, a, b)
			status = 1
		case a != b:
			out.printf("%s %s differ: byte %d, line %d\n", names[0], names[1], at, line)
			return 1
		}
		if a == '\n' {
			line++
		}
	}
	return status
}

// A differ is one run of diff.
type differ struct {
	c       *Context
	o       options
	out     *output
	context int // lines around a change; -1: the classic form
}

func diff(c *Context) int {
	o, ok := c.parse("uU:qrNiwbBas1:", "unified=u", "brief=q", "recursive=r", "new-file=N", "ignore-case=i", "ignore-all-space=w",
		"ignore-space-change=b", "ignore-blank-lines=B", "text=a", "report-identical-files=s", "label=1")
	if !ok {
		return 2
	}
	if len(o.operands) != 2 {
		return c.Usage("two files are needed")
	}
	lines, err := o.number('U', 3)
	if err != nil {
		return c.Usage("-U needs a number")
	}
	d := &differ{c: c, o: o, out: c.output(), context: -1}
	if o.has("uU") {
		d.context = int(lines)
	}
	a, b := o.operands[0], o.operands[1]
	aDir, bDir := isFolder(c.Path(a)) && a != "-", isFolder(c.Path(b)) && b != "-"
	switch {
	case aDir && bDir:
		return d.out.done(d.folders(a, b))
	case aDir:
		a = join(a, base(b))
	case bDir:
		b = join(b, base(a))
	}
	return d.out.done(d.files(a, b, false))
}

func (d *differ) folders(a, b string) (status int) {
	names := map[string]int{}
	for i, dir := range []string{a, b} {
		entries, err := readDir(d.c.Path(dir))
		if err != nil {
			d.c.fail(dir, err)
			return 2
		}
		for _, e := range entries {
			names[e.Name()] |= 1 << i
		}
	}
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, name := range all {
		left, right := join(a, name), join(b, name)
		aDir, bDir := isFolder(d.c.Path(left)), isFolder(d.c.Path(right))
		switch {
		case names[name] != 3 && (!d.o.has("N") || aDir || bDir):
			d.out.line("Only in " + []string{a, b}[names[name]-1] + ": " + name)
			status = max(status, 1)
		case aDir && bDir && d.o.has("r"):
			status = max(status, d.folders(left, right))
		case aDir && bDir:
			d.out.line("Common subdirectories: " + left + " and " + right)
		case aDir != bDir:
			kinds := map[bool]string{true: "directory", false: "regular file"}
			d.out.line("File " + left + " is a " + kinds[aDir] + " while file " + right + " is a " + kinds[bDir])
			status = max(status, 1)
		default:
			status = max(status, d.files(left, right, true))
		}
	}
	return status
}

// files compares two files; titled says which with the classic form, too.
func (d *differ) files(a, b string, titled bool) int {
	var texts [2][]byte
	for i, name := range []string{a, b} {
		text, err := d.c.readAll(name)
		if err != nil && (!d.o.has("N") || !errors.Is(err, os.ErrNotExist)) {
			d.c.fail(name, err)
			return 2
		}
		texts[i] = []byte(text)
	}
	if bytes.Equal(texts[0], texts[1]) {
		if d.o.has("s") {
			d.out.line("Files " + a + " and " + b + " are identical")
		}
		return 0
	}
	if !d.o.has("a") && (bytes.IndexByte(texts[0], 0) >= 0 || bytes.IndexByte(texts[1], 0) >= 0) {
		d.out.line("Binary files " + a + " and " + b + " differ")
		return 1
	}
	left, right := splitLines(string(texts[0])), splitLines(string(texts[1]))
	edits := compareLines(d.keys(left), d.keys(right))
	if len(edits) == 0 {
		return 0
	}
	if d.o.has("q") {
		d.out.line("Files " + a + " and " + b + " differ")
		return 1
	}
	if titled {
		d.out.line("diff " + strings.Join(d.flags(), " ") + a + " " + b)
	}
	if d.context >= 0 {
		d.unified(a, b, left, right, edits)
	} else {
		d.classic(left, right, edits)
	}
	return 1
}

// flags are those that the title of a file in a folder repeats.
func (d *differ) flags() []string {
	var all []string
	for _, arg := range d.c.Args[1:] {
		if strings.HasPrefix(arg, "-") && len(arg) > 1 {
			all = append(all, arg)
		}
	}
	return append(all, "")
}

// splitLines keeps the ends of lines: the last may have none.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	all := strings.SplitAfter(s, "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// keys are lines as they are compared.
func (d *differ) keys(all []string) []string {
	if !d.o.has("iwb") {
		return all
	}
	keys := make([]string, len(all))
	for i, line := range all {
		switch {
		case d.o.has("w"):
			line = strings.Join(strings.Fields(line), "")
		case d.o.has("b"):
			line = strings.TrimRight(line, " \t\r\n")
			lead := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
			line = lead[:min(1, len(lead))] + strings.Join(strings.Fields(line), " ")
		}
		if d.o.has("i") {
			line = strings.ToLower(line)
		}
		keys[i] = line
	}
	return keys
}

// show writes a line of either file.
func (d *differ) show(mark, line string) {
	d.out.text(mark + line)
	if !strings.HasSuffix(line, "\n") {
		d.out.text("\n\\ No newline at end of file\n")
	}
}

func (d *differ) classic(left, right []string, edits []edit) {
	for _, e := range edits {
		kind := "c"
		switch {
		case e.a1 == e.a2:
			kind = "a"
		case e.b1 == e.b2:
			kind = "d"
		}
		d.out.line(span1(e.a1, e.a2) + kind + span1(e.b1, e.b2))
		for _, l := range left[e.a1:e.a2] {
			d.show("< ", l)
		}
		if kind == "c" {
			d.out.line("---")
		}
		for _, l := range right[e.b1:e.b2] {
			d.show("> ", l)
		}
	}
}

// span1 is a range of lines as the classic form writes it.
func span1(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprint(from)
	case 1:
		return fmt.Sprint(to)
	}
	return fmt.Sprintf("%d,%d", from+1, to)
}

// span2 is one as the unified form does.
func span2(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(to)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func (d *differ) unified(a, b string, left, right []string, edits []edit) {
	for i, name := range []string{a, b} {
		mark := []string{"--- ", "+++ "}[i]
		if labels := d.o.values('1'); i < len(labels) {
			d.out.line(mark + labels[i])
			continue
		}
		when := ""
		if n, err := stat(d.c.Path(name)); err == nil {
			when = "\t" + n.modify.In(zone(d.c)).Format("2006-01-02 15:04:05.000000000 -0700")
		}
		d.out.line(mark + name + when)
	}
	for len(edits) > 0 {
		n := 1 // changes that are near to each other stand together
		for n < len(edits) && edits[n].a1-edits[n-1].a2 <= 2*d.context {
			n++
		}
		first, last := edits[0], edits[n-1]
		before, after := min(d.context, first.a1), min(d.context, len(left)-last.a2)
		d.out.line("@@ -" + span2(first.a1-before, last.a2+after) + " +" + span2(first.b1-before, last.b2+after) + " @@")
		at := first.a1 - before
		for _, e := range edits[:n] {
			for ; at < e.a1; at++ {
				d.show(" ", left[at])
			}
			for ; at < e.a2; at++ {
				d.show("-", left[at])
			}
			for _, l := range right[e.b1:e.b2] {
				d.show("+", l)
			}
		}
		for ; at < last.a2+after; at++ {
			d.show(" ", left[at])
		}
		edits = edits[n:]
	}
}
