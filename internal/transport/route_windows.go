package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A routeWatcher is what Windows hands back to the callback.
type routeWatcher struct {
	events chan struct{}
}

// routeCallback is the one callback of the process: Go never frees one, and
// there is room for 2000 only.
//
//nolint:gochecknoglobals // made once, never changed
var routeCallback = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(w *routeWatcher, _, _ uintptr) uintptr {
		notify(w.events)
		return 0
	})
})

// watchRoutes calls changed when interfaces or addresses of this machine
// change, until ctx ends: nil then, else why it cannot watch.
func watchRoutes(ctx context.Context, changed func()) (err error) {
	w := &routeWatcher{events: make(chan struct{}, 1)}
	var pin runtime.Pinner
	pin.Pin(w)
	defer pin.Unpin() // after the cancellations, which wait for callbacks that run
	for name, register := range map[string]func(uint16, uintptr, unsafe.Pointer, bool, *windows.Handle) error{
		"interfaces": windows.NotifyIpInterfaceChange,
		"addresses":  windows.NotifyUnicastIpAddressChange,
		"routes":     windows.NotifyRouteChange2,
	} {
		var handle windows.Handle
		if err := register(windows.AF_UNSPEC, routeCallback(), unsafe.Pointer(w), false, &handle); err != nil {
			return fmt.Errorf("asking for changes of %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, windows.CancelMibChangeNotify2(handle)) }()
	}
	reportChanges(ctx, w.events, changed)
	return nil
}
