package tool

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// zone is the time zone of TZ: that of the session, not of the shell's process.
func zone(c *Context) *time.Location {
	name := c.Env("TZ")
	if name == "" {
		return time.Local
	}
	if at, err := time.LoadLocation(name); err == nil {
		return at
	}
	return time.UTC
}

func date(c *Context) int {
	o, ok := c.parse("ud:r:I::Rs:", "utc=u", "universal=u", "date=d", "reference=r", "iso-8601=I", "rfc-email=R")
	if !ok {
		return 2
	}
	at, t := zone(c), time.Now()
	if o.has("u") {
		at = time.UTC
	}
	var err error
	switch {
	case o.has("s"):
		return c.Errorf("the clock of a container cannot be set")
	case o.has("d"):
		t, err = parseDate(o.value('d'), t, at)
	case o.has("r"):
		var n inode
		n, err = stat(c.Path(o.value('r')))
		t = n.modify
	}
	if err != nil {
		return c.fail(o.value('d')+o.value('r'), err)
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case len(o.operands) == 1 && strings.HasPrefix(o.operands[0], "+"):
		format = o.operands[0][1:]
	case len(o.operands) > 0:
		return c.Usage("unknown argument %s", o.operands[0])
	case o.has("R"):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.has("I"):
		var ok bool
		if format, ok = map[string]string{
			"": "%F", "date": "%F", "hours": "%FT%H%:z", "minutes": "%FT%H:%M%:z", "seconds": "%FT%T%:z", "ns": "%FT%T,%N%:z",
		}[o.value('I')]; !ok {
			return c.Usage("-I is one of date hours minutes seconds ns")
		}
	}
	out := c.output()
	out.line(strftime(format, t.In(at)))
	return out.done(0)
}

// strftime writes a time as the format of strftime(3) wants it, in English.
func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := byte(0)
		if strings.IndexByte("-_0^:", format[i]) >= 0 && i+1 < len(format) {
			pad = format[i]
			i++
		}
		text := timeField(format[i], t)
		switch {
		case pad == ':' && format[i] == 'z':
			text = t.Format("-07:00")
		case pad == '^':
			text = strings.ToUpper(text)
		case pad == '-' && len(text) > 1:
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		case pad == '_':
			trimmed := strings.TrimLeft(text[:len(text)-1], "0") + text[len(text)-1:]
			text = strings.Repeat(" ", len(text)-len(trimmed)) + trimmed
		}
		b.WriteString(text)
	}
	return b.String()
}

func timeField(name byte, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST",
		'z': "-0700", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05",
		'D': "01/02/06", 'R': "15:04", 'r': "03:04:05 PM", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'P': "pm",
	}
	if layout, ok := layouts[name]; ok {
		return t.Format(layout)
	}
	year, week := t.ISOWeek()
	switch name {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 's':
		return strconv.FormatInt(t.Unix(), 10)
	case 'N':
		return fmt.Sprintf("%09d", t.Nanosecond())
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1)
	case 'w':
		return strconv.Itoa(int(t.Weekday()))
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 'V':
		return fmt.Sprintf("%02d", week)
	case 'G':
		return strconv.Itoa(year)
	case 'q':
		return strconv.Itoa((int(t.Month())-1)/3 + 1)
	}
	return "%" + string(rune(name))
}

// parseDate reads the dates that date -d and touch -d take: many forms, now,
// today, @seconds, and spans such as "2 hours ago" behind a date or alone.
func parseDate(s string, now time.Time, at *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	now = now.In(at)
	if seconds, ok := strings.CutPrefix(s, "@"); ok {
		f, err := strconv.ParseFloat(seconds, 64)
		if err != nil {
			return now, errors.New("not a date")
		}
		return time.Unix(int64(f), int64((f-float64(int64(f)))*1e9)).In(at), nil
	}
	for _, layout := range []string{
		"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02", "2006-01-02T15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "20060102",
		"2006/01/02", "2006/01/02 15:04:05", "2006-01-02 15:04:05 MST", "2006-01-02 15:04 MST", time.RFC1123Z, time.RFC1123, time.UnixDate,
		time.ANSIC, "Jan 2 2006", "Jan 2 15:04:05 2006", "2 Jan 2006", "2 Jan 2006 15:04:05", "2 Jan 2006 15:04",
	} {
		if t, err := time.ParseInLocation(layout, s, at); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, s, at); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, at), nil
		}
	}
	return relativeDate(strings.Fields(strings.ToLower(s)), now, at)
}

// relativeDate reads "yesterday", "3 days ago", "now - 1 hour", "2026-01-02 +1 day".
func relativeDate(words []string, t time.Time, at *time.Location) (time.Time, error) {
	bad := errors.New("not a date")
	if len(words) == 0 {
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, at), nil
	}
	switch words[0] {
	case "now", "today":
		words = words[1:]
	case "yesterday":
		t, words = t.AddDate(0, 0, -1), words[1:]
	case "tomorrow":
		t, words = t.AddDate(0, 0, 1), words[1:]
	default:
		if strings.Count(words[0], "-") == 2 {
			d, err := time.ParseInLocation("2006-01-02", words[0], at)
			if err != nil {
				return t, bad
			}
			t, words = d, words[1:]
		}
	}
	for len(words) > 0 {
		n, unit, rest, ok := dateSpan(words)
		if !ok {
			return t, bad
		}
		words = rest
		switch strings.TrimSuffix(unit, "s") {
		case "year":
			t = t.AddDate(n, 0, 0)
		case "month":
			t = t.AddDate(0, n, 0)
		case "week":
			t = t.AddDate(0, 0, 7*n)
		case "day":
			t = t.AddDate(0, 0, n)
		case "hour":
			t = t.Add(time.Duration(n) * time.Hour)
		case "minute", "min":
			t = t.Add(time.Duration(n) * time.Minute)
		case "second", "sec":
			t = t.Add(time.Duration(n) * time.Second)
		default:
			return t, bad
		}
	}
	return t, nil
}

// dateSpan reads "3 days ago", "-1hour" or "next week".
func dateSpan(words []string) (n int, unit string, rest []string, ok bool) {
	text := words[0]
	n, words = 1, words[1:]
	if (text == "-" || text == "+") && len(words) > 0 {
		text, words = text+words[0], words[1:]
	}
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit = text[len(number):]
	switch {
	case text == "next" && len(words) > 0:
		unit, words = words[0], words[1:]
	case text == "last" && len(words) > 0:
		n, unit, words = -1, words[0], words[1:]
	default:
		var err error
		if n, err = strconv.Atoi(number); err != nil {
			return 0, "", nil, false
		}
		if unit == "" && len(words) > 0 {
			unit, words = words[0], words[1:]
		}
	}
	if len(words) > 0 && words[0] == "ago" {
		n, words = -n, words[1:]
	}
	return n, unit, words, true
}

func sleep(c *Context) int {
	o, ok := c.parse("")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("a time is needed, such as 1.5 or 2m")
	}
	var sum time.Duration
	for _, s := range o.operands {
		d, err := duration(s)
		if err != nil {
			return c.Usage("not a time: %s", s)
		}
		sum += d
	}
	timer := time.NewTimer(sum)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-c.Done():
		return 1
	}
}
