//go:build linux || darwin

package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// plainReason says why connecting or listening did not work, without what Go's
// errors say besides: the operation, the network, the address, each again.
func plainReason(err error) string {
	var dns *net.DNSError
	var no syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "looking up the name: " + dns.Err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, context.Canceled):
		return "the connection has ended"
	case errors.As(err, &no):
		return no.Error()
	}
	return err.Error()
}
