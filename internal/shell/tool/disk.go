package tool

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A mounted is a line of /proc/mounts.
type mounted struct{ device, dir, kind, options string }

func mounts() ([]mounted, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var all []mounted
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 4 {
			all = append(all, mounted{unescape.Replace(f[0]), unescape.Replace(f[1]), f[2], f[3]})
		}
	}
	return all, nil
}

// mount lists what is mounted; it mounts nothing.
func mount(c *Context) int {
	o, ok := c.parse("t:l")
	if !ok {
		return 2
	}
	if len(o.operands) > 0 {
		return c.Errorf("it only lists what is mounted")
	}
	all, err := mounts()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	out := c.output()
	for _, m := range all {
		if !o.has("t") || slices.Contains(strings.Split(o.value('t'), ","), m.kind) {
			out.line(m.device + " on " + m.dir + " type " + m.kind + " (" + m.options + ")")
		}
	}
	return out.done(0)
}

func df(c *Context) int {
	o, ok := c.parse("ahHikmPTt:x:", "all=a", "human-readable=h", "inodes=i", "portability=P", "print-type=T", "type=t", "exclude-type=x")
	if !ok {
		return 2
	}
	all, err := mounts()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	status := 0
	shown := all
	if len(o.operands) > 0 {
		shown = nil
	}
	for _, name := range o.operands {
		m, err := mountOf(all, c.Path(name))
		if err != nil {
			status = c.fail(name, err)
			continue
		}
		shown = append(shown, m)
	}
	head := []string{"Filesystem", "Type", "1K-blocks", "Used", "Available", "Use%", "Mounted on"}
	switch {
	case o.has("i"):
		head = []string{"Filesystem", "Type", "Inodes", "IUsed", "IFree", "IUse%", "Mounted on"}
	case o.has("hH"):
		head = []string{"Filesystem", "Type", "Size", "Used", "Avail", "Use%", "Mounted on"}
	case o.has("m"):
		head[2] = "1M-blocks"
	}
	rows := [][]string{head}
	seen := map[string]bool{}
	for _, m := range shown {
		var s unix.Statfs_t
		if err := unix.Statfs(m.dir, &s); err != nil {
			continue // what cannot be seen is not listed, as with coreutils
		}
		if len(o.operands) == 0 && !o.has("a") && (s.Blocks == 0 || seen[m.dir]) ||
			o.has("t") && !slices.Contains(o.values('t'), m.kind) || slices.Contains(o.values('x'), m.kind) {
			continue
		}
		seen[m.dir] = true
		rows = append(rows, usage(o, m, s))
	}
	if !o.has("T") {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	if len(rows) == 1 && status != 0 {
		return status
	}
	out := c.output()
	left := make([]bool, len(rows[0]))
	for i, title := range rows[0] {
		left[i] = title == "Filesystem" || title == "Type" || title == "Mounted on"
	}
	aligned(out, rows, left)
	return out.done(status)
}

// usage is a row of df.
func usage(o options, m mounted, s unix.Statfs_t) []string {
	block := int64(wide(s.Bsize))
	total, free, available := int64(s.Blocks)*block, int64(s.Bfree)*block, int64(wide(s.Bavail))*block
	unit := int64(1 << 10)
	if o.has("m") {
		unit = 1 << 20
	}
	if o.has("i") {
		total, free, unit = int64(s.Files), int64(wide(s.Ffree)), 1
		available = free
	}
	used := total - free
	show := func(n int64) string {
		if o.has("hH") {
			return human(n)
		}
		return strconv.FormatInt((n+unit-1)/unit, 10)
	}
	percent := "-"
	if used+available > 0 {
		percent = strconv.FormatInt((used*100+used+available-1)/(used+available), 10) + "%"
	}
	return []string{m.device, m.kind, show(total), show(used), show(available), percent, m.dir}
}

// mountOf is where a file is mounted: the longest of the folders above it.
func mountOf(all []mounted, path string) (mounted, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return mounted{}, err
	}
	var best mounted
	for _, m := range all {
		if (path == m.dir || strings.HasPrefix(path, strings.TrimSuffix(m.dir, "/")+"/")) && len(m.dir) >= len(best.dir) {
			best = m
		}
	}
	return best, nil
}

// A measure is one run of du.
type measure struct {
	c     *Context
	o     options
	out   *output
	seen  map[[2]uint64]bool // files with several names, which are counted once
	depth int
	dev   uint64
}

func du(c *Context) int {
	o, ok := c.parse("sahkmbcd:xl0", "summarize=s", "all=a", "human-readable=h", "bytes=b", "total=c", "max-depth=d", "one-file-system=x", "apparent-size=0")
	if !ok {
		return 2
	}
	depth, err := o.number('d', 1<<30)
	if err != nil {
		return c.Usage("-d needs a number")
	}
	if o.has("s") {
		depth = 0
	}
	m := &measure{c: c, o: o, out: c.output(), seen: map[[2]uint64]bool{}, depth: int(depth)}
	names, status, sum := o.operands, 0, int64(0)
	if len(names) == 0 {
		names = []string{"."}
	}
	for _, name := range names {
		n, err := lstat(c.Path(name))
		if err != nil {
			status = c.fail(name, err)
			continue
		}
		m.dev = n.dev
		total, failed := m.walk(name, c.Path(name), n, 0)
		sum, status = sum+total, max(status, failed)
	}
	if o.has("c") {
		m.show("total", sum)
	}
	return m.out.done(status)
}

func (m *measure) show(name string, n int64) {
	text := ""
	switch m.o.last("hkmb") {
	case 'h':
		text = human(n)
	case 'm':
		text = strconv.FormatInt((n+1<<20-1)>>20, 10)
	case 'b':
		text = strconv.FormatInt(n, 10)
	default:
		text = strconv.FormatInt((n+1023)>>10, 10)
	}
	m.out.line(text + "\t" + name)
}

func (m *measure) walk(name, path string, n inode, depth int) (sum int64, status int) {
	if n.links > 1 && !n.isDir() && !m.o.has("l") {
		key := [2]uint64{n.dev, n.ino}
		if m.seen[key] {
			return 0, 0
		}
		m.seen[key] = true
	}
	sum = n.blocks * 512
	if m.o.has("b0") {
		if sum = n.size; n.isDir() {
			sum = n.size
		}
	}
	if n.isDir() {
		entries, err := readDir(path)
		if err != nil {
			status = m.c.fail(name, err)
		}
		for _, e := range entries {
			at := join(path, e.Name())
			child, err := lstat(at)
			if err != nil || m.o.has("x") && child.dev != m.dev || m.c.Err() != nil {
				continue
			}
			more, failed := m.walk(join(name, e.Name()), at, child, depth+1)
			sum, status = sum+more, max(status, failed)
		}
	}
	if depth == 0 || depth <= m.depth && (n.isDir() || m.o.has("a")) {
		m.show(name, sum)
	}
	return sum, status
}
