//go:build linux || darwin

package shell

import (
	"strconv"
	"strings"
	"testing"
)

func TestInteractive(t *testing.T) {
	c := newConsole(t, 60, 20)
	c.ends(prompt)
	c.types("echo hello\r")
	c.ready("hello")
	c.types("x=5; false\recho $x $?\r")
	c.ready("5 1")
	c.types("exit 7\r")
	c.exits(7)
}

func TestInterruptsTool(t *testing.T) {
	c := newConsole(t, 60, 20)
	c.ends(prompt)
	c.types("echo start >file; clear\r")
	c.until("a prompt", func(screen string) bool { return screen == strings.TrimSpace(prompt) })
	for i, command := range []string{
		"sleep 1000", "cat", "cat | cat", "read x", "yes >/dev/null", "while :; do :; done", "sleep 1000 | cat",
		"/usr/bin/tail -f file", "/bin/cat file -", // which Ctrl-C kills at any time; a shell may be about to start another
	} {
		if !strings.HasPrefix(command, "/") {
			command = "{ echo st''art; " + command + "; }"
		}
		c.types("printf '\\33[H\\33[J'; " + command + "\r")
		c.until("the start", func(screen string) bool { return screen == "start" })
		c.types("\x03")
		c.until("a prompt", func(screen string) bool { // the kernel may put ^C before the end of a line
			return strings.Contains(screen, "^C") && strings.HasSuffix(screen, "\n"+strings.TrimSpace(prompt))
		})
		c.types("echo $? " + strconv.Itoa(i) + "\r")
		c.ready("130 " + strconv.Itoa(i))
	}
}

// TestStops stops tools and programs with Ctrl-Z and lets them go on.
func TestStops(t *testing.T) {
	for _, command := range []string{"cat", "/bin/cat", "cat | cat", "/bin/cat | cat", "while read x; do echo $x; done"} {
		t.Run(command, func(t *testing.T) {
			c := newConsole(t, 70, 24)
			c.ends(prompt)
			c.types("printf 'st''art\\n'; " + command + "\r")
			c.ends("start")
			c.types("one\n")
			c.ends("one\none")
			c.types("\x1a")
			c.until("the stopped job", func(screen string) bool {
				return strings.Contains(screen, "[1]+  Stopped") && strings.HasSuffix(screen, strings.TrimSpace(prompt))
			})
			c.types("echo $?\r")
			c.ready("148")
			c.types("fg\r")
			c.ends(strings.ReplaceAll(command, "; done", "; done"))
			c.types("two\n")
			c.ends("two\ntwo")
			c.types("\x04")
			c.ready("two\ntwo")
			c.types("echo $? $(jobs)\r")
			c.until("no job", func(screen string) bool {
				return strings.Contains(screen, "\n0\n") || strings.Contains(screen, "\n1\n")
			})
		})
	}
}

func TestBackground(t *testing.T) {
	c := newConsole(t, 70, 24)
	c.ends(prompt)
	c.types("sleep 1000 &\r")
	c.ready("[1]")
	c.types("/bin/sleep 1000 &\r")
	c.ready("[2]")
	c.types("\x03") // reaches none of them
	c.ready(prompt + "^C")
	c.types("clear; jobs\r")
	c.ready("[1]-  Running                 sleep 1000 &\n[2]+  Running                 /bin/sleep 1000 &")
	c.types("kill %1 %2; wait %1; echo $?; wait %2; echo $?\r")
	c.ready("143\n143")
	c.types("true & wait; false & wait $!; echo $?\r")
	c.ready("1")
	c.types("cat & wait\r")
	c.until("the stopped job", func(screen string) bool { return strings.Contains(screen, "Stopped                 cat") })
	c.types("fg\r")
	c.ends("fg\ncat")
	c.types("x\r")
	c.ends("x\nx")
	c.types("\x03") // the kernel forgets what was typed after it
	c.until("a prompt", func(screen string) bool { return strings.HasSuffix(screen, "\n"+strings.TrimSpace(prompt)) })
	c.types("exit\r")
	c.exits(130)
}

// TestInterruptLeavesBackground has Ctrl-C end a line, but not what the line has
// started with &.
func TestInterruptLeavesBackground(t *testing.T) {
	c := newConsole(t, 70, 24)
	c.ends(prompt)
	for _, command := range []string{
		"sleep 1000", "/bin/cat", "wait", "while :; do :; done", "(/bin/sleep 1000)", "sleep 1000 | /bin/cat", "x=$(/bin/sleep 1000)",
	} {
		c.types("clear; { sleep 1000 & /bin/sleep 1000 & echo st''art; " + command + "; echo never; }; echo never\r")
		c.until("the start", func(screen string) bool { return strings.HasSuffix(screen, "]\nstart") })
		c.types("\x03")
		c.until("a prompt", func(screen string) bool { return strings.HasSuffix(screen, "\n"+strings.TrimSpace(prompt)) })
		c.types("echo $?; jobs -r | wc -l; kill -9 %?/bin %sleep; wait; echo kil''led $(jobs)\r")
		c.until("both jobs", func(screen string) bool {
			return strings.Contains(screen, "\n130\n2\nkilled\n"+strings.TrimSpace(prompt)) && !strings.Contains(screen, "\nnever")
		})
	}
	c.types("exit 5\r")
	c.exits(5)
}

// TestHangUp ends the jobs with the terminal.
func TestHangUp(t *testing.T) {
	c := newConsole(t, 70, 24)
	c.ends(prompt)
	c.types("sleep 1000 & /bin/sleep 1000 & /bin/sleep 1000\r")
	c.ends("[2]")
	c.tty.Close()
	c.exits(129)
}

// TestInterruptsLine gives up what is being typed.
func TestInterruptsLine(t *testing.T) {
	c := newConsole(t, 70, 24)
	c.ends(prompt)
	c.types("\x03")
	c.ready("^C")
	c.types("echo half")
	c.ends("echo half")
	c.types("\x03")
	c.ready("echo half^C")
	c.types("touch fil''e-a fil''e-b; echo $?\r")
	c.ready("0")
	c.types("cat fi\t")
	c.ends("cat file-")
	c.types("\x03echo $?\r")
	c.ready("130")
	c.types("for i in 1; do\r")
	c.ends(">")
	c.types("\x03cat file-\t\t")
	c.until("both files", func(screen string) bool { return strings.Contains(screen, "file-a  file-b") })
	c.types("\x03\x04")
	c.exits(130)
}

func TestComplains(t *testing.T) {
	c := newConsole(t, 100, 50)
	c.ends(prompt)
	c.types("echo x >nosuch/file\r")
	c.ready("cloudssh-shell: nosuch/file: No such file or directory")
	c.types("nosuch\r")
	c.ready("cloudssh-shell: nosuch: command not found")
}
