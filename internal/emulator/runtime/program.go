package runtime

import (
	"context"
	"io"
	"net"
	"syscall"
)

// A Program is what an InProcess container runs. The context is cancelled by SIGKILL: the
// program must return then. Its exit status is 0 for nil, what the error's ExitCode
// method says if it has one, else 1.
type Program func(ctx context.Context, p Proc) error

// A Proc is what a [Program] sees of its container.
type Proc struct {
	Args           []string
	Env            []string
	Dir            string
	User           string
	Stdout, Stderr io.Writer // never nil
	// Signals delivers all signals but SIGKILL. A signal that is not received is lost
	// once 16 are waiting.
	Signals <-chan syscall.Signal
	// Listen listens on a TCP address of the sandbox's own port space, such as ":8080".
	// [Sandbox.Dial] reaches it.
	Listen func(ctx context.Context, address string) (net.Listener, error)
	// Dial connects to a TCP address of that port space, such as "127.0.0.1:8080" or
	// "169.254.169.254:80".
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Getenv returns the value of the last definition of an environment variable.
func (p Proc) Getenv(name string) string {
	for i := len(p.Env) - 1; i >= 0; i-- {
		if v, ok := cutEnv(p.Env[i], name); ok {
			return v
		}
	}
	return ""
}

func cutEnv(entry, name string) (string, bool) {
	if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
		return entry[len(name)+1:], true
	}
	return "", false
}
