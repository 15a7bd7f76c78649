package tool

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"
)

// print writes the files of one folder, or those that were named.
func (l *listing) print(found []listed, folder bool) {
	if len(found) > 0 && !folder {
		l.started = true
	}
	if folder && (l.long || l.blocks) {
		var sum int64
		for _, e := range found {
			sum += e.info.blocks
		}
		if l.human {
			l.out.line("total " + human(sum*512))
		} else {
			l.out.line("total " + strconv.FormatInt((sum+1)/2, 10))
		}
	}
	switch {
	case l.long:
		l.table(found)
	case l.columns:
		l.grid(found)
	default:
		for _, e := range found {
			if !l.inodes && !l.blocks && !l.colour && l.classify == 0 {
				l.out.line(e.name)
				continue
			}
			l.out.line(l.before(e) + l.shown(e))
		}
	}
}

// before is what -i and -s put before a name.
func (l *listing) before(e listed) string {
	s := ""
	if l.inodes {
		s = strconv.FormatUint(e.info.ino, 10) + " "
	}
	if l.blocks {
		s += strconv.FormatInt((e.info.blocks+1)/2, 10) + " "
	}
	return s
}

// table is the long form.
func (l *listing) table(found []listed) {
	rows := make([][]string, len(found))
	var width [6]int
	for i, e := range found {
		rows[i] = l.row(e)
		for k, cell := range rows[i][:6] {
			width[k] = max(width[k], len(cell))
		}
	}
	for i, e := range found {
		r := rows[i]
		l.out.text(l.before(e))
		l.out.text(r[0])
		l.cell(r[1], width[1], true)
		if !l.o.has("g") {
			l.cell(r[2], width[2], false)
		}
		if !l.o.has("oG") {
			l.cell(r[3], width[3], false)
		}
		l.cell(r[4], width[4], true)
		l.cell(r[5], width[5], true)
		l.out.byte(' ')
		l.out.text(l.shown(e))
		if e.isLink {
			if to, err := os.Readlink(e.path); err == nil {
				l.out.text(" -> " + to)
			}
		}
		l.out.byte('\n')
	}
}

// cell writes a space and a word of a width.
func (l *listing) cell(s string, width int, right bool) {
	l.out.byte(' ')
	if !right {
		l.out.text(s)
	}
	for range width - len(s) {
		l.out.byte(' ')
	}
	if right {
		l.out.text(s)
	}
}

// row has mode, links, user, group, size and time.
func (l *listing) row(e listed) []string {
	n := e.info
	size := strconv.FormatInt(n.size, 10)
	switch {
	case n.isDevice():
		size = fmt.Sprintf("%d, %d", unix.Major(n.rdev), unix.Minor(n.rdev))
	case l.human:
		size = human(n.size)
	}
	return []string{
		n.modes(), strconv.FormatUint(n.links, 10), l.accounts.user(n.uid), l.accounts.group(n.gid), size, l.when(l.time(e)),
	}
}

// time is the one that was asked for.
func (l *listing) time(e listed) time.Time {
	switch l.o.last("cu") {
	case 'c':
		return e.info.change
	case 'u':
		return e.info.access
	}
	return e.info.modify
}

// when shows the year of what is more than half a year away, else the hour.
func (l *listing) when(t time.Time) string {
	t = t.In(l.zone)
	if l.o.has("9") {
		return t.Format("2006-01-02 15:04:05.000000000 -0700")
	}
	const half = 31556952 / 2 * time.Second
	if age := l.now.Sub(t); age < half && age > -time.Minute {
		return t.Format("Jan _2 15:04")
	}
	return t.Format("Jan _2  2006")
}

// grid writes names in columns, down and then across, as many as fit.
func (l *listing) grid(found []listed) {
	if len(found) == 0 {
		return
	}
	cols := 80
	if l.c.StdoutTTY && l.c.Terminal != nil {
		cols, _ = l.c.Terminal.Size()
	}
	if n, err := strconv.Atoi(l.o.value('w')); err == nil {
		cols = n
	}
	names, width := make([]string, len(found)), make([]int, len(found))
	for i, e := range found {
		names[i] = l.before(e) + l.shown(e)
		width[i] = runewidth.StringWidth(l.before(e) + visible(e.name) + l.suffix(e))
	}
	rows, widths := arrange(width, cols)
	for r := range rows {
		for i := r; i < len(names); i += rows {
			l.out.text(names[i])
			if i+rows < len(names) {
				l.out.text(strings.Repeat(" ", widths[i/rows]-width[i]+2))
			}
		}
		l.out.byte('\n')
	}
}

// arrange finds the fewest rows in which words of these widths fit into cols,
// two spaces between them, and the width of each column.
func arrange(width []int, cols int) (rows int, widths []int) {
	for rows = 1; ; rows++ {
		widths = widths[:0]
		sum := 0
		for i := 0; i < len(width); i += rows {
			w := 0
			for _, one := range width[i:min(i+rows, len(width))] {
				w = max(w, one)
			}
			widths = append(widths, w)
			sum += w + 2
		}
		if sum-2 <= cols || rows >= len(width) {
			return rows, widths
		}
	}
}
