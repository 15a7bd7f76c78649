package tool

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestXargs(t *testing.T) {
	same(t, sample(t), "a 'b c' d\\ e\n\"f\"  g\n\n",
		"xargs", "xargs echo x", "xargs -n 2 echo", "xargs -n1", "xargs -I {} echo '[{}]'", "xargs -L 1 echo", "xargs -d '\\n' echo", "xargs -d '\\n' -n1 echo",
		"xargs -t echo", "xargs false", "xargs -n1 false", "xargs -a a.txt -n 3 echo")
	same(t, sample(t), "", "xargs", "xargs -r echo x", "xargs echo x")
	same(t, sample(t), "a b\x00c\n\x00", "xargs -0 echo", "xargs -0 -n1 echo")
	same(t, sample(t), "it's", "xargs echo")
}

func TestEnv(t *testing.T) {
	same(t, sample(t), "", "env", "env -i", "env -i A=1 B=2", "env -u HOME", "env A=x printenv A HOME", "printenv HOME", "printenv NONE", "env -i printenv", "env - A=1",
		"env -C sub cat c.go", "env HOME=/x", "env -u HOME -u USER -u TZ -u PATH")
}

func TestTimeout(t *testing.T) {
	same(t, sample(t), "", "timeout 60 true", "timeout 60 false", "timeout 0.05 sleep 100", "timeout --preserve-status 60 false", "timeout x true")
}

func TestPs(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for _, command := range []string{"ps -o pid= -p " + pid, "ps -o pid,ppid,user,comm,tty -p " + pid, "ps -o args= -p " + pid, "ps -o uid,sid,pgid,ni -p 1", "ps -p 999999999"} {
		got, want := run(t, "/", "", words(command)...), program(t, "/", "", words(command)...)
		if strings.Join(strings.Fields(got.stdout), " ") != strings.Join(strings.Fields(want.stdout), " ") && !strings.Contains(command, "999") || got.status != want.status {
			t.Errorf("%s: %+v, want %+v", command, got, want)
		}
	}
	got := run(t, "/", "", "ps", "aux")
	if !strings.Contains(got.stdout, pid) || !strings.HasPrefix(got.stdout, "USER") || got.status != 0 {
		t.Errorf("ps aux: %+v", got)
	}
	for _, command := range []string{"ps", "ps -ef", "ps -l", "ps -e", "top -b -n 1", "top"} {
		if got := run(t, "/", "", words(command)...); !strings.Contains(got.stdout, pid) || !strings.Contains(got.stdout, filepath.Base(os.Args[0])) || got.status != 0 {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

// TestInterrupted reads what has no end.
func TestInterrupted(t *testing.T) {
	for _, command := range []string{"cat /dev/zero", "sha256sum /dev/zero", "grep x /dev/zero", "wc /dev/zero", "tail -c 5 /dev/zero", "yes", "sleep 1000", "cp /dev/zero /dev/null"} {
		t.Run(command, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := newContext(t, "/", words(command)...)
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			c.Context, c.Stdin, c.Stdout, c.Stderr = ctx, strings.NewReader(""), null, io.Discard
			tool := lookup(t, c.Args[0])
			done := make(chan int)
			go func() { done <- tool.Run(c) }()
			cancel()
			<-done
		})
	}
}

func TestStat(t *testing.T) {
	p, ok := parseStat("7 (a) b (c)) S 1 7 7 34817 7 4194304 1 2 3 4 150 50 0 0 20 -5 3 0 400 4096 2 18446744073709551615 1 1 0 0 0 0")
	if !ok || p.pid != 7 || p.name != "a) b (c)" || p.ppid != 1 || p.cpu.Seconds() != 2 || p.nice != -5 || p.threads != 3 || p.start.Seconds() != 4 ||
		p.terminal() != "pts/1" || p.size != 4096 {
		t.Errorf("%v %+v", ok, p)
	}
	for _, bad := range []string{"", "7 (a", "7 (a) S", "x"} {
		if _, ok := parseStat(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
