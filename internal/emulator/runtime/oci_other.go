//go:build !linux

package runtime

import (
	"context"
	"runtime"
)

// newAuto has only the engine to try: an OCI runtime needs Linux's own namespaces.
func newAuto(ctx context.Context, o Options) (Runtime, error) {
	r, err := newEngine(ctx, o)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func newOCI(_ context.Context, o Options) (Runtime, error) {
	return nil, &UnavailableError{
		Kind:   o.Kind,
		Reason: "runs on Linux only, this is " + runtime.GOOS,
		Try:    []string{"start Docker or Podman, then: cloudssh emulator --runtime docker"},
	}
}
