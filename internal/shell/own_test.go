//go:build linux || darwin

package shell

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOwnProcess runs the tools that have a process of their own.
func TestOwnProcess(t *testing.T) {
	for _, c := range []struct {
		name, text, out string
		status          int
	}{
		{"where the shell is", `mkdir d; cd d; echo 'a b' >f; awk '{print $2 >"g"}' f; cat g; awk 'BEGIN{exit 3}'`, "b\n", 3},
		{"what the shell has", `x=5 awk 'BEGIN{print ENVIRON["x"]; system("echo $x")}'`, "5\n5\n", 0},
		{"in a pipe", `printf '1\n2\n' | awk '{s+=$1} END{print s}' | cat`, "3\n", 0},
		{"what it starts reads its input only if it wants to", `printf '1\n2\n' | awk 'BEGIN{system("true"); "true" | getline} {print}'`, "1\n2\n", 0},
		{"by other tools", `printf '1\n2\n' | xargs -n1 echo | xargs -I{} awk 'BEGIN{print {}*2}'; mkdir d; echo x >d/f; find d -type f -execdir awk '{print FILENAME}' {} \;`, "2\n4\n./f\n", 0},
		{"a file of that name", `echo 'echo wrong' >awk; awk 'BEGIN{print "right"}'`, "right\n", 0},
		{"nohup of programs", `nohup /bin/sh -c 'kill -HUP $$; echo lives'; nohup nosuch 2>/dev/null; echo $?`, "lives\n127\n", 0},
		{"nohup of tools", `nohup printf '%s\n' a 'b c'; echo in | nohup cat; nohup false; echo $?; nohup 2>/dev/null; echo $?`, "a\nb c\nin\n1\n125\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script(t, c.text).want(t, c.out, c.status)
		})
	}
}

// TestNohup hangs up the terminal of what goes on.
func TestNohup(t *testing.T) {
	cmd := command(t)
	cmd.Env = append(cmd.Env, "PS1="+prompt)
	fifo := filepath.Join(cmd.Dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c := startConsole(t, cmd, 100, 20)
	c.ends(prompt)
	c.types("nohup /bin/sh -c 'echo st''arted; read x <fifo; echo got $x; echo over >fifo' &\r")
	c.until("where the output goes", func(screen string) bool {
		return strings.Contains(screen, "nohup: ignoring input and appending output to 'nohup.out'")
	})
	c.tty.Close()
	c.exits(129)
	if err := os.WriteFile(fifo, []byte("word\n"), 0); err != nil {
		t.Fatal(err)
	}
	if over, err := os.ReadFile(fifo); err != nil || string(over) != "over\n" {
		t.Errorf("%q, %v", over, err)
	}
	if out, err := os.ReadFile(filepath.Join(cmd.Dir, "nohup.out")); err != nil || string(out) != "started\ngot word\n" {
		t.Errorf("nohup.out is %q, %v", out, err)
	}
}
