package sshconfig_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

func parse(t testing.TB, text string) *sshconfig.File {
	t.Helper()
	f, err := sshconfig.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	return f
}

// put is text with b in it.
func put(t testing.TB, text string, b sshconfig.Block) string {
	t.Helper()
	f := parse(t, text)
	if err := f.Put(b); err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	return string(f.Bytes())
}

func remove(t testing.TB, text string) string {
	t.Helper()
	f := parse(t, text)
	f.Remove("")
	return string(f.Bytes())
}

// checkRound demands what every configuration is owed; rest is the text
// without any block of ours.
func checkRound(t testing.TB, text, rest string) {
	t.Helper()
	if got := string(parse(t, text).Bytes()); got != text {
		t.Fatalf("%.300q is read as %.300q", text, got)
	}
	if got := remove(t, text); got != rest {
		t.Fatalf("%.300q without our blocks is %.300q", text, got)
	}
	with := put(t, text, block())
	if got := remove(t, with); got != rest {
		t.Fatalf("%.300q, put in and taken out: %.300q", text, got)
	}
	if again := put(t, with, block()); again != with {
		t.Fatalf("put twice:\n%s", cmp.Diff(with, again))
	}
	made := block()
	made.Made = sshconfig.Made{File: true, Folder: true}
	if got := parse(t, put(t, text, made)).Made(); got != made.Made {
		t.Fatalf("%.300q remembers %v", text, got)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) { checkRound(t, k.text, k.rest()) })
	}
}

// TestAnyContent puts a block into text made of what trips readers, and takes
// it out again.
func TestAnyContent(t *testing.T) {
	pieces := []string{
		"\n", "\r\n", "\r", "\t", " ", "=", "\"", "'", "\\", "#", "\x00", "\ufeff", "\xff", "Host *", "Host cloudssh-*",
		"Match all", "Include x", "User a", ">>>", "<<<", "# >>> cloudssh", "# >>> cloudssh configs", "# <<< cloudssh-config", "cloudssh config",
	}
	ours := []string{oldBlock, otherBlock, sameBlock, put(t, "", block())}
	const seed = 20
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2_000 {
		var text, rest strings.Builder
		for range r.IntN(12) {
			if r.IntN(8) == 0 && (text.Len() == 0 || strings.HasSuffix(text.String(), "\n")) {
				text.WriteString(ours[r.IntN(len(ours))])
				continue
			}
			p := pieces[r.IntN(len(pieces))]
			text.WriteString(p)
			rest.WriteString(p)
		}
		checkRound(t, text.String(), rest.String())
	}
}

// FuzzRound does the same with text that nobody thought of.
func FuzzRound(f *testing.F) {
	for _, k := range kinds() {
		f.Add(k.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := sshconfig.Parse([]byte(text))
		if err != nil {
			return
		}
		for _, p := range file.Prefixes() {
			if p != "" && (strings.HasPrefix(p, "cloudssh-") || strings.HasPrefix("cloudssh-", p)) && p != "cloudssh-" {
				return // refused
			}
		}
		checkRound(t, text, remove(t, text))
	})
}

func TestWhere(t *testing.T) {
	ours := put(t, "", block())
	for _, tt := range []struct{ name, text, want string }{
		{"above all", hosts, ours + hosts},
		{"behind a byte order mark", "\ufeff" + hosts, "\ufeff" + ours + hosts},
		{"in its place", hosts + sameBlock + stars, hosts + ours + stars},
		{"in that of one without a prefix", hosts + oldBlock, hosts + ours},
		{"once", hosts + sameBlock + "# x\n" + sameBlock, hosts + ours + "# x\n"},
		{"beside another's", "# x\n" + otherBlock, ours + "# x\n" + otherBlock},
		{"with CRLF", "# x\r\n# y\n", strings.ReplaceAll(ours, "\n", "\r\n") + "# x\r\n# y\n"},
	} {
		if d := cmp.Diff(tt.want, put(t, tt.text, block())); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestRemoveOne(t *testing.T) {
	f := parse(t, sameBlock+"# x\n"+otherBlock)
	if d := cmp.Diff([]string{"prod-"}, f.Remove("prod-")); d != "" {
		t.Error(d)
	}
	if got := string(f.Bytes()); got != sameBlock+"# x\n" {
		t.Errorf("left: %q", got)
	}
	if got := f.Remove("prod-"); got != nil {
		t.Errorf("taken out twice: %q", got)
	}
}

// TestMadeStays follows two blocks in a file that was made for the first.
func TestMadeStays(t *testing.T) {
	first, second := block(), block()
	first.Made = sshconfig.Made{File: true}
	second.Prefix = "prod-"
	f := parse(t, put(t, put(t, "", first), second))
	f.Remove(first.Prefix)
	if !f.Made().File {
		t.Error("the second block forgot that the file was made")
	}
}

func TestRefused(t *testing.T) {
	begin, end := "# >>> cloudssh config: cloudssh- >>>\n", "# <<< cloudssh config <<<\n"
	for _, tt := range []struct {
		name, text string
		line       int
		end        bool
	}{
		{"no end", "# x\n" + begin + "Host cloudssh-*\n" + hosts, 2, false},
		{"no end, and another block", "# x\n" + begin + hosts + sameBlock, 2, false},
		{"no beginning", hosts + end, 7, true},
		{"no beginning, behind a byte order mark", "\ufeff" + end, 1, true},
		{"two ends", sameBlock + end, 6, true},
		{"no end, CRLF", "# x\r\n" + strings.ReplaceAll(begin, "\n", "\r\n"), 2, false},
	} {
		_, err := sshconfig.Parse([]byte(tt.text))
		var marker *sshconfig.MarkerError
		if !errors.As(err, &marker) || marker.Line != tt.line || marker.End != tt.end {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, text := range []string{"\xff\xfeH\x00", "\xfe\xff\x00H"} {
		if _, err := sshconfig.Parse([]byte(text)); !errors.Is(err, sshconfig.ErrUTF16) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for prefix, other := range map[string]string{"cloud": "cloudssh-", "prod-eu-": "prod-"} {
		b := block()
		b.Prefix = prefix
		f := parse(t, sameBlock+otherBlock)
		var overlap *sshconfig.OverlapError
		if err := f.Put(b); !errors.As(err, &overlap) || overlap.Other != other {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
