package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/session"
)

// forwards is how many connections BenchmarkMemoryOfForwards forwards.
const forwards = 200

// BenchmarkMemoryOfForwards is what forwarded connections take of the app's
// memory: at rest, and after each has carried a MiB both ways.
func BenchmarkMemoryOfForwards(b *testing.B) {
	const about = "memory of the agent"
	for b.Loop() {
		a := agentProgram(b)
		next := a.forwards()
		next() // it is connected
		empty := a.settled()
		next() // all are open
		results.atMost(about, "each forwarded connection at rest", (a.settled()-empty)/forwards/mib, 0.1, " MiB", "")
		next() // all have carried something
		results.atMost(about, "each forwarded connection after a transfer", (a.settled()-empty)/forwards/mib, 0.5, " MiB",
			fmt.Sprintf("at most %s MiB with %d", number(a.resident("VmHWM")/mib), forwards))
		next() // all are closed
		results.note(about, "all forwarded connections have ended", number(a.settled()/mib)+" MiB", "")
	}
}

// forwards starts a client. next has it do what comes next, and waits for that.
func (a *agentProcess) forwards() (next func()) {
	l := a.lab
	l.b.Helper()
	text, err := json.Marshal(config{Dir: l.dir, URL: l.url("http", portAgent), Wire: "auto"})
	if err != nil {
		l.b.Fatal(err)
	}
	cmd := exec.Command(l.program, "role", "forwards", string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		l.b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.b.Fatal(err)
	}
	l.start(l.near, cmd)
	done := bufio.NewScanner(out)
	return func() {
		l.b.Helper()
		if _, err := io.WriteString(in, "next\n"); err != nil {
			l.b.Fatal(err)
		}
		if !done.Scan() {
			l.b.Fatalf("the client of forwarded connections ended: %v", done.Err())
		}
	}
}

// runForwards does one thing for each line of its input, and says so.
func runForwards(ctx context.Context, c config) error {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	signer, err := c.signer("user")
	if err != nil {
		return err
	}
	var client *session.Client
	var all []net.Conn
	steps := []func() error{
		func() error {
			conn, hostKey, err := c.dial(ctx)
			if err != nil {
				return err
			}
			client, err = session.New(ctx, conn, session.Config{Signer: signer, HostKey: hostKey, User: "root"})
			return err
		},
		func() error {
			for range forwards {
				conn, err := client.Dial(ctx, "tcp", echo.Addr().String())
				if err != nil {
					return err
				}
				all = append(all, conn)
			}
			return nil
		},
		func() error {
			for _, conn := range all {
				if err := echoOnce(conn); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			for _, conn := range all {
				conn.Close()
			}
			return nil
		},
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan() && len(steps) > 0; steps = steps[1:] {
		if err := steps[0](); err != nil {
			return err
		}
		if _, err := io.WriteString(os.Stdout, "done\n"); err != nil {
			return err
		}
	}
	return nil
}

// echoOnce sends a MiB and waits until it has come back.
func echoOnce(conn net.Conn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat("x", mib))
		sent <- err
	}()
	if _, err := io.CopyN(io.Discard, conn, mib); err != nil {
		return err
	}
	return <-sent
}
