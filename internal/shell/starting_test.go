//go:build linux || darwin

package shell

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSignalsWhileStarting has Ctrl-C and Ctrl-Z come between the decision to
// start a program and its process.
func TestSignalsWhileStarting(t *testing.T) {
	t.Run("Ctrl-C", func(t *testing.T) {
		j := newJob(t.Context(), "test")
		if err := j.starts(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.interrupt()
		j.interrupt()
		if j.over() {
			t.Error("the job was left alone, with a program to come that takes the terminal")
		}
		j.failed()
		if err := j.starts(t.Context()); err == nil {
			t.Error("another program is started")
		}
		j.interrupt()
		if !j.over() {
			t.Error("the job that does not end was not left alone")
		}
	})
	t.Run("Ctrl-Z", func(t *testing.T) {
		j := newJob(t.Context(), "test")
		if err := j.starts(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.suspend()
		if j.state == stopped {
			t.Error("the job is stopped, with a program to come that takes the terminal")
		}
		cmd := exec.CommandContext(t.Context(), "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		j.began(cmd.Process.Pid, false)
		var status unix.WaitStatus
		for {
			if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if !status.Stopped() {
			t.Fatalf("the program is not stopped: %v", status)
		}
		j.halt(cmd.Process.Pid)
		if j.state != stopped {
			t.Error("the job is not stopped")
		}
		j.kill(syscall.SIGKILL)
		cmd.Wait()
	})
	t.Run("Ctrl-Z and no program", func(t *testing.T) {
		j := newJob(t.Context(), "test")
		if err := j.starts(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.suspend()
		j.failed()
		if j.state != stopped {
			t.Error("the job is not stopped")
		}
	})
}

// TestForeignGroup has the terminal back after a program that could not be
// executed, and after one of the background ended beside one that has it.
func TestForeignGroup(t *testing.T) {
	c := newConsole(t, 100, 24)
	c.ends(prompt)
	c.types("printf '\\177ELF\\0' >bad; chmod +x bad; ./bad; cat\r")
	c.ends("cannot execute: not a program for this machine")
	c.types("x\r")
	c.ends("x\nx")
	c.types("\x04")
	c.ready("x\nx")
	c.types("/bin/echo st''art; /bin/cat\r")
	c.ends("start")
	c.types("one\r")
	c.ends("one\none")
	c.types("\x1a")
	c.until("the stopped job", func(screen string) bool {
		return strings.Contains(screen, "[1]+  Stopped") && strings.HasSuffix(screen, strings.TrimSpace(prompt))
	})
	c.types("clear; /bin/sh -c \"kill -9 $(jobs -p) && echo kil''led && exec /bin/cat\"; echo $?\r")
	c.ends("killed")
	c.types("two\r")
	c.ends("two\ntwo")
	c.types("\x04")
	c.until("its end", func(screen string) bool {
		return strings.Contains(screen, "two\ntwo\n0\n") && strings.HasSuffix(screen, "\n"+strings.TrimSpace(prompt))
	})
	c.types("wait; echo left $(jobs)\r") // the shell may hear of the job's end after the prompt
	c.ready("\nleft")
	c.types("exit 6\r")
	c.exits(6)
}

// TestWithoutControl is a terminal that is not the shell's own: there are no
// process groups then, but programs run.
func TestWithoutControl(t *testing.T) {
	cmd := command(t, "-i")
	cmd.Env = append(cmd.Env, "PS1="+prompt)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c := startConsole(t, cmd, 60, 20)
	c.ends(prompt)
	c.types("/bin/echo one; echo two; jobs\r")
	c.ready("one\ntwo")
	c.types("exit 3\r")
	c.exits(3)
}

// TestInterruptsStart types Ctrl-C when a program is just about to start, is
// being started, or runs. It must not reach what is typed next.
func TestInterruptsStart(t *testing.T) {
	c := newConsole(t, 60, 20)
	c.ends(prompt)
	for i := range 24 {
		command := []string{"/bin/sleep 1000", "/bin/cat", "/bin/cat | /bin/cat"}[i%3]
		c.types("printf '\\33[H\\33[Jst''art\\n'; " + strings.Repeat(":; ", i) + command + "\r")
		c.until("the start", func(screen string) bool { return screen == "start" })
		c.types("\x03")
		c.until("a prompt", func(screen string) bool { // the kernel may put ^C before the end of a line
			return strings.Contains(screen, "^C") && strings.HasSuffix(screen, "\n"+strings.TrimSpace(prompt))
		})
		c.types("printf \"$? %s\\\\n\" " + strconv.Itoa(i) + "; cat\r")
		c.ends("\n130 " + strconv.Itoa(i)) // and cat has the terminal
		c.types("x\r")
		c.ends("x\nx")
		c.types("\x04")
		c.ready("x\nx")
	}
}
