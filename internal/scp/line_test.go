//go:build linux || darwin

package scp

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"scp -t .":                               "sink [.]",
		"scp -v -r -p -d -t dir":                 "sink rpdv [dir]",
		"scp -qrpt -- -dash":                     "sink rp [-dash]",
		"/usr/bin/scp -pf a 'b c' \"d\" e\\ f":   "source p [a|b c|d|e f]",
		"scp -f ''":                              "source []",
		`scp -t 'it'"'"'s'`:                      "sink [it's]", // libssh2
		"scp -f $SPACE":                          "source [a b]",
		"scp -f '$SPACE' \"\\$x\" \"${SPACE}$\"": "source [$SPACE|$x|a b$]",
		"scp -f ~/x ~other/x a~":                 "source [/home/x|~other/x|a~]",
		"scp -f {a,b{c,d}}{x} {y}":               "source [a{x}|bc{x}|bd{x}|{y}]",
		`scp -f \{a,b\} {a\,b,c}`:                "source [{a,b}|a,b|c]",
	} {
		c, ok := Parse(line, testEnvironment("/home"))
		if !ok {
			t.Errorf("%s: not understood", line)
			continue
		}
		got := describe(c)
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	for _, line := range []string{
		"", " ", "scp", "scp -t", "scp -f", "scp -t -f x", "scp a b", "scp -x -t a", "rsync -t x", "scpx -t x", "scp -t 'x",
		`scp -t "x`, `scp -t x\`, "scp -t $(id)", "scp -t `id`", "scp -t x; id", "scp -t x | id", "scp -t x & id", "scp -t x\nid",
		"scp -f x > y", "scp -f ${x:-y}", "scp -f $1", "scp -f $'x'", "scp -t x # y", "(scp -t x)", `scp -t "$(id)"`, "scp -t x\x00",
		`scp -t "a` + "`id`" + `"`, "s* -t x", "scp -P 22 -t x",
	} {
		if c, ok := Parse(line, testEnvironment("/home")); ok {
			t.Errorf("%q: %s", line, describe(c))
		}
	}
	if c, ok := FromArgs([]string{"/bin/scp", "-rt", "*$x ~{a,b}"}); !ok || describe(c) != "sink r [*$x ~{a,b}]" {
		t.Errorf("arguments: %v, %s", ok, describe(c))
	}
}

func describe(c Command) string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: "source ", false: "sink "}[c.source])
	for letter, set := range map[string]bool{"r": c.recursive} {
		if set {
			b.WriteString(letter)
		}
	}
	for _, flag := range []struct {
		letter string
		set    bool
	}{{"p", c.preserve}, {"d", c.directory}, {"v", c.verbose}} {
		if flag.set {
			b.WriteString(flag.letter)
		}
	}
	var names []string
	for _, o := range c.operands {
		names = append(names, o.expand(c.environment, "/nonexistent")...)
	}
	return strings.TrimSpace(b.String()) + " [" + strings.Join(names, "|") + "]"
}

func TestWords(t *testing.T) {
	for line, want := range map[string]string{
		"true": "true", " ls  -l 'a b' ": "ls|-l|a b", "/app/x --name=\"$SPACE\" ''": "/app/x|--name=a b|", "cat ~/x": "cat|/home/x",
	} {
		if got, ok := Words(line, testEnvironment("/home")); !ok || strings.Join(got, "|") != want {
			t.Errorf("%s: %q, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "ls *", "A=b env", "ls && id", "ls 2>&1", "echo {a,b}", "ls a[b]", "ls $STAR"} {
		if got, ok := Words(line, testEnvironment("/home")); ok {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a", true},
		{"*", ".a", false},
		{".*", ".a", true},
		{"a*b*c", "aXbXbc", true},
		{"a*b*c", "aXbXb", false},
		{"?", "é", true},
		{"?", "\xff", true},
		{"??", "é", false},
		{"[é-ü]", "ö", true},
		{"[]]", "]", true},
		{"[^]]", "]", false},
		{"[!a]", "b", true},
		{"[a", "[a", true},
		{"[a-", "[a-", true},
		{"[a-]", "-", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`[\]a]`, "]", true},
		{"*.txt", "a.txt.txt", true},
		{"a", "ab", false},
		{"ab", "a", false},
		{"", "", true},
		{strings.Repeat("a*", 40) + "b", strings.Repeat("a", 200), false},
		{"é*", "éa", true},
		{"x\xff", "x\xff", true},
	} {
		if got := pattern(tt.pattern).match(tt.name); got != tt.want {
			t.Errorf("%q, %q: %v", tt.pattern, tt.name, got)
		}
	}
}

// serve sends a script to the sink and returns what it answers.
func serve(t *testing.T, dir, command, script string) (answers string, status int) {
	t.Helper()
	c, ok := Parse(command, Environment{})
	if !ok {
		t.Fatalf("%s: not understood", command)
	}
	var out bytes.Buffer
	status = c.Serve(strings.NewReader(script), &out, io.Discard, dir)
	return out.String(), status
}

func TestBadClients(t *testing.T) {
	for script, want := range map[string]string{
		"C0644 1 ../x\nx\x00":           "\x00\x02scp: error: unexpected filename: ../x\n",
		"C0644 1 /etc/x\nx\x00":         "\x00\x02scp: error: unexpected filename: /etc/x\n",
		"D0755 0 ..\n":                  "\x00\x02scp: error: unexpected filename: ..\n",
		"D0755 0 .\n":                   "\x00\x02scp: error: unexpected filename: .\n",
		"D0755 0 d/../../x\n":           "\x00\x02scp: error: unexpected filename: d/../../x\n",
		"C0644 1 \nx\x00":               "\x00\x02scp: error: unexpected filename: \n",
		"C0644 1 a\x00b\nx\x00":         "\x00\x02scp: error: unexpected filename: a\x00b\n",
		"\n":                            "\x00\x02scp: protocol error: unexpected <newline>\n",
		"X\n":                           "\x00\x02scp: protocol error: expected control record\n",
		"C644 1 x\nx\x00":               "\x00\x02scp: protocol error: bad mode\n",
		"C0689 1 x\nx\x00":              "\x00\x02scp: protocol error: bad mode\n",
		"C0644 -1 x\n":                  "\x00\x02scp: protocol error: bad size\n",
		"C0644 9223372036854775808 x\n": "\x00\x02scp: protocol error: bad size\n",
		"T1 0 1\n":                      "\x00\x02scp: protocol error: times are not four numbers\n",
		"T1 1000000 1 0\n":              "\x00\x02scp: protocol error: bad time \"1000000\"\n",
		"C0644 1 " + strings.Repeat("x", 5000) + "\n": "\x00\x02scp: protocol error: a line is too long\n",
		strings.Repeat("y", 100_000):                  "\x00\x02scp: protocol error: a line is too long\n",
		"C0644 9 x\npart":                             "\x00\x00", // and lost
		"C0644":                                       "\x00",
		"D0755 0 d\n":                                 "\x00\x00",
		"\x02gone\n":                                  "\x00",
		"D0755 0 d\nC0644 1 x\nx\x00E\nC0644 1 x\nx\x00E": "\x00\x00\x00\x00\x00\x00\x00",
	} {
		dir := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		got, status := serve(t, dir, "scp -r -t .", script)
		if got != want || status != 1 {
			t.Errorf("%.50q: %q, want %q; status %d", script, got, want, status)
		}
		if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
			t.Errorf("%.50q made %v", script, entries)
		}
		if strings.HasSuffix(script, "part") {
			if entries, _ := os.ReadDir(dir); len(entries) != 0 {
				t.Errorf("a part of a file stays: %v", entries)
			}
		}
	}
	if got, status := serve(t, t.TempDir(), "scp -t .", "D0755 0 d\n"); status != 1 || !strings.Contains(got, "without -r") {
		t.Errorf("a directory: %q", got)
	}
	if got, status := serve(t, t.TempDir(), "scp -f none", ""); status != 1 || got != "" {
		t.Errorf("no client: %q", got)
	}
}

// What the client says it could not read does not stay.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	got, status := serve(t, dir, "scp -t .", "C0644 1 x\n\x00\x01scp: x: Input/output error\nC0644 1 y\ny\x00")
	if got != "\x00\x00\x00\x00\x00" || status != 1 {
		t.Errorf("%q, status %d", got, status)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != "y" {
		t.Errorf("%v", entries)
	}
}

func FuzzRecord(f *testing.F) {
	for _, line := range []string{
		"C0644 12 name", "D0755 0 dir", "E", "T1183828267 0 1183828267 0", "\x01scp: x: No such file", "\x02", "C0644 1 ../x", "C9999 1 x",
		"T-1 0 0 0", "C0644 99999999999999999999 x", "D0755 0 ", "C06440 1 x",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseRecord(line)
		if err != nil {
			return
		}
		switch r.kind {
		case 'C', 'D':
			if r.name == "" || r.name == "." || r.name == ".." || strings.ContainsAny(r.name, "/\x00") || r.size < 0 || r.mode > 0o7777 {
				t.Errorf("%q: %+v", line, r)
			}
		case 'T', 'E', 1, 2:
		default:
			t.Errorf("%q: %+v", line, r)
		}
	})
}

func FuzzParseCommand(f *testing.F) {
	for _, line := range []string{"scp -t .", `scp -f 'a'"b"\c$SPACE`, "scp -f {a,{b,c}}*[x", "scp -f ~someone/[!a-\\]]", "scp -f ${x", `scp -f "\`, "scp -f {{{,}}}"} {
		f.Add(line)
	}
	f.Fuzz(func(_ *testing.T, line string) {
		if c, ok := Parse(line, testEnvironment("/home")); ok {
			describe(c)
		}
		Words(line, testEnvironment("/home"))
	})
}

// A sink that gets anything stays in its directory and ends.
func FuzzSink(f *testing.F) {
	f.Add([]byte("T1 0 1 0\nD0755 0 d\nC0600 3 f\nabc\x00E\n"))
	f.Add([]byte("C0644 1 ..\nx\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1<<12 || bytes.Count(script, []byte("D")) > 20 {
			return
		}
		dir := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		c, _ := FromArgs([]string{"scp", "-r", "-t", "."})
		c.Serve(bufio.NewReader(bytes.NewReader(script)), io.Discard, io.Discard, dir)
		if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
			t.Errorf("%q made %v, %v", script, entries, err)
		}
	})
}
