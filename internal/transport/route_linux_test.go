package transport

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A network namespace of its own, so that nobody's network is touched and no
// other change is seen. The thread stays in it and ends with the goroutine.
func TestWatchRoutes(t *testing.T) {
	ready, changes, result := make(chan error), make(chan struct{}, 16), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	step := make(chan func() error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use to others
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		ready <- nil
		for f := range step {
			result <- f()
		}
	}()
	if err := <-ready; errors.Is(err, unix.EPERM) {
		t.Skip("a network namespace takes root")
	} else if err != nil {
		t.Fatal(err)
	}
	defer close(step)
	in := func(f func() error) {
		t.Helper()
		step <- f
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	in(func() error {
		fd, err := routeSocket()
		go func() { ended <- watchSocket(ctx, fd, "netlink", func() { notify(changes) }) }()
		return err
	})
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}
	address, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func() error{
		func() error { return netlink.LinkSetUp(lo) },
		func() error { return netlink.AddrAdd(lo, address) },
		func() error { return netlink.AddrDel(lo, address) },
		func() error { return netlink.LinkSetDown(lo) },
	} {
		in(change)
		<-changes
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("watching ended with %v", err)
	}
}

func TestReportChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		events := make(chan struct{}, 1)
		start := time.Now()
		var calls []time.Duration
		go reportChanges(ctx, events, func() { calls = append(calls, time.Since(start)) })
		for range 5 { // a burst of half a second
			notify(events)
			pass(routeSettle / 2)
		}
		pass(time.Minute)
		notify(events)
		pass(time.Minute)
		synctest.Wait()
		if len(calls) != 3 || calls[0] != 0 || calls[1] < 4*routeSettle/2+routeSettle || calls[2] < time.Minute {
			t.Errorf("changes were reported at %v, want the start and the end of the burst and the late one", calls)
		}
	})
}
