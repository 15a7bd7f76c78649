package cli

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort is a port that nobody had a moment ago, on no address of this machine.
// It is below those that the kernel gives to whoever asks for any, and above those
// that tests of other packages choose.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 30_000 + rand.IntN(2_700)
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
