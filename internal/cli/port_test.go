package cli

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort is a port that nobody had a moment ago, on no address of this machine,
// below those that the kernel gives to whoever asks for any: other tests do that
// all the time.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err == nil {
			_ = l.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Loopbacks are the loopback addresses that this machine has.
func Loopbacks() []string {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return []string{"127.0.0.1"}
	}
	_ = l.Close()
	return []string{"127.0.0.1", "::1"}
}
