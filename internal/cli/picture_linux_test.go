package cli_test

import (
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hinshun/vt10x"
)

// TestDemo is `cloudssh demo` in a terminal, as in the README; with -update
// its last screen becomes the README's picture.
func TestDemo(t *testing.T) {
	needRuntime(t)
	home := t.TempDir()
	w := &world{env: append(os.Environ(),
		"HOME="+home, "CLOUDSSH_CONFIG_DIR="+filepath.Join(home, "c"), "TERM=xterm-256color", "NO_COLOR=",
		"XDG_CACHE_HOME="+sharedState, "GOCACHE="+goEnv("GOCACHE"), "GOMODCACHE="+goEnv("GOMODCACHE"))}
	m := w.terminal(t, "demo", "--state-dir", sharedState)
	m.shows("a twin of hello")
	m.shows("# ")
	for _, c := range []struct{ types, shows string }{
		{"ls", "README"},
		{"echo $K_SERVICE", "hello-ssh"},
		{"ps | head -2", "cloudssh-agent"},
		{"cloudssh-app >/dev/null 2>&1 &", ""},
		{"until wget -qO- localhost:8081 2>/dev/null; do sleep 1; done", "Hello from hello-ssh"},
	} {
		m.types(c.types + "\r")
		m.sees("what comes of "+c.types, func(s string) bool {
			_, answer, typed := strings.Cut(s, "# "+c.types) // what is above may say the same
			return typed && strings.Contains(answer, c.shows) && strings.HasSuffix(strings.TrimRight(answer, " \n"), "\n/app #")
		})
	}
	m.mu.Lock()
	picture := drawSVG(m.screen, "$ cloudssh demo")
	m.mu.Unlock()
	m.types("exit\r")
	if code := m.wait(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, m.screen.String())
	}
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "demo.svg"), []byte(picture), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// drawSVG draws what stands on a screen, in its colours, under the command
// that led to it.
func drawSVG(screen vt10x.Terminal, command string) string {
	const cell, line = 8.4, 18
	cols, rows := screen.Size()
	last := 0
	for y := range rows {
		for x := range cols {
			if c := screen.Cell(x, y).Char; c != ' ' && c != 0 {
				last = y
			}
		}
	}
	var b strings.Builder
	width, height := int(float64(cols)*cell)+32, (last+2)*line+56
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="14">`, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#1e2127"/>`, width, height)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`, 20+20*i, colour)
	}
	fmt.Fprintf(&b, `<text x="16" y="52" fill="#98c379" xml:space="preserve">%s</text>`, html.EscapeString(command))
	for y := range last + 1 {
		for x := 0; x < cols; {
			colour := screen.Cell(x, y).FG
			var run strings.Builder
			from := x
			for x < cols && screen.Cell(x, y).FG == colour {
				c := screen.Cell(x, y).Char
				if c == 0 {
					c = ' '
				}
				run.WriteRune(c)
				x++
			}
			if text := strings.TrimRight(run.String(), " "); text != "" {
				fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="%s" xml:space="preserve">%s</text>`,
					16+float64(from)*cell, 52+(y+1)*line, colourOf(colour), html.EscapeString(text))
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func colourOf(c vt10x.Color) string {
	palette := []string{
		"#5c6370", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#abb2bf",
		"#7f848e", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#ffffff",
	}
	if int(c) < len(palette) {
		return palette[c]
	}
	return "#dcdfe4"
}
