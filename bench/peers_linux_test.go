package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cloudssh/cloudssh/internal/transport"
)

// A peer is a way to run commands on the far host.
type peer struct {
	name   string
	kind   string // ssh, netconn or stream
	scheme string // of its WebSocket; "" for none
	wire   string // of a stream
}

func openSSH() peer     { return peer{name: "OpenSSH over TCP", kind: "ssh"} }
func openSSHPipe() peer { return peer{name: "OpenSSH, WebSocket pipe", kind: "ssh", scheme: "https"} }
func xNetConn() peer    { return peer{name: "x/crypto, NetConn", kind: "netconn", scheme: "https"} }
func ours() peer        { return peer{name: "cloudssh", kind: "stream", scheme: "https", wire: "websocket"} }

func oursPlain() peer {
	return peer{name: "cloudssh without TLS", kind: "stream", scheme: "http", wire: "websocket"}
}

func oursHTTP() peer {
	return peer{name: "cloudssh, plain HTTPS", kind: "stream", scheme: "https", wire: "http"}
}

func (l *lab) url(scheme, port string) string {
	if scheme == "https" {
		port = above(port)
	}
	return scheme + "://" + net.JoinHostPort(l.addr, port)
}

// A conn is one connection of a peer, with a command in each channel.
type conn struct {
	lab      *lab
	channels []*channel
	cmds     []*exec.Cmd // the client, and ssh's helpers if it has several channels
	stdin    io.Closer   // the client's, if it ends with it
	counts   *bytes.Buffer
}

// A channel's ends are the local ends of the command's streams.
type channel struct {
	in, out *os.File // to and from the command
	theirs  [2]*os.File
}

// open connects and runs the commands; each has said R.
func (l *lab) open(p peer, commands ...command) *conn {
	l.b.Helper()
	c := &conn{lab: l, counts: &bytes.Buffer{}}
	for range commands {
		c.channels = append(c.channels, l.newChannel())
	}
	l.clients++
	if p.kind == "ssh" {
		c.openSSH(p, commands)
	} else {
		c.openGo(p, commands)
	}
	for _, ch := range c.channels {
		if len(c.cmds) > 1 { // said already
			break
		}
		ch.expect(l, "R")
	}
	return c
}

func (l *lab) newChannel() *channel {
	l.b.Helper()
	theirIn, in, err := os.Pipe()
	if err != nil {
		l.b.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		l.b.Fatal(err)
	}
	l.b.Cleanup(func() {
		for _, f := range []*os.File{in, out} {
			f.Close() // may be closed
		}
	})
	return &channel{in: in, out: out, theirs: [2]*os.File{theirIn, theirOut}}
}

func (ch *channel) given() {
	for _, f := range ch.theirs {
		f.Close()
	}
}

func (ch *channel) expect(l *lab, word string) {
	l.b.Helper()
	ch.out.SetReadDeadline(time.Now().Add(60 * time.Second))
	defer ch.out.SetReadDeadline(time.Time{})
	got := make([]byte, len(word))
	if n, err := io.ReadFull(ch.out, got); string(got) != word {
		l.b.Fatalf("a command said %q, %v; want %q", got[:n], err, word)
	}
}

// openGo runs our own client with all commands.
func (c *conn) openGo(p peer, commands []command) {
	l := c.lab
	l.b.Helper()
	text, err := json.Marshal(config{Dir: l.dir, URL: l.url(p.scheme, portAgent), Kind: p.kind, Wire: p.wire, Commands: commands})
	if err != nil {
		l.b.Fatal(err)
	}
	cmd := exec.Command(l.program, "role", "client", string(text))
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		l.b.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = c.counts, os.Stderr
	for _, ch := range c.channels {
		cmd.ExtraFiles = append(cmd.ExtraFiles, ch.theirs[0], ch.theirs[1])
	}
	c.startClient(cmd, c.channels...)
}

// openSSH runs ssh with the first command, and one more for each further one,
// through the connection of the first.
func (c *conn) openSSH(p peer, commands []command) {
	l := c.lab
	l.b.Helper()
	control := l.file("control-" + strconv.Itoa(l.clients))
	for i, command := range commands {
		args := []string{
			"-F", "none", "-i", l.file("user"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
			"-o", "LogLevel=ERROR", "-p", portSSH,
		}
		if p.scheme != "" {
			args = append(args, "-o", "ProxyCommand="+l.program+" role netcat "+l.url(p.scheme, portLimits)+"/pipe")
		}
		if len(commands) > 1 {
			args = append(args, "-S", control)
			if i == 0 {
				args = append(args, "-M")
			}
		}
		if command.TTY {
			args = append(args, "-tt")
		}
		cmd := exec.Command("ssh", append(args, "root@"+l.addr, command.Shell)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.channels[i].theirs[0], c.channels[i].theirs[1], os.Stderr
		c.startClient(cmd, c.channels[i])
		if len(commands) > 1 {
			c.channels[i].expect(l, "R") // then it takes more
		}
	}
}

func (c *conn) startClient(cmd *exec.Cmd, channels ...*channel) {
	c.lab.b.Helper()
	c.lab.start(c.lab.near, cmd)
	c.cmds = append(c.cmds, cmd)
	for _, ch := range channels {
		ch.given()
	}
}

// wait waits for the client, whose commands have ended, and returns the
// processor time that it took.
func (c *conn) wait() time.Duration {
	c.lab.b.Helper()
	var total time.Duration
	for _, cmd := range c.cmds {
		if err := cmd.Wait(); err != nil {
			c.lab.b.Fatalf("%s: %v", strings.Join(cmd.Args[:2], " "), err)
		}
		total += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return total
}

// close ends the client and its commands. The counts are a stream's.
func (c *conn) close() transport.Stats {
	c.lab.b.Helper()
	var counts transport.Stats
	if c.stdin != nil {
		c.stdin.Close()
		c.cmds[0].Wait() // commands were cut off
		if err := json.Unmarshal(c.counts.Bytes(), &counts); err != nil && c.counts.Len() > 0 {
			c.lab.b.Fatal(err)
		}
	}
	for _, cmd := range c.cmds {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait() // it may have ended
	}
	for _, ch := range c.channels {
		ch.in.Close()
		ch.out.Close()
	}
	return counts
}

// The remote commands.

// echoing is a terminal that sends each key back.
func echoing() command { return command{Shell: "stty raw -echo; printf R; exec cat", TTY: true} }

func (l *lab) source(size int64) command {
	return command{Shell: fmt.Sprintf("exec %s role source %d", l.program, size)}
}

// sink comes with the file in which it counts.
func (l *lab) sink(size int64) (command, string) {
	l.clients++
	file := l.file("count-" + strconv.Itoa(l.clients))
	return command{Shell: fmt.Sprintf("exec %s role sink %d %s", l.program, size, file)}, file
}
