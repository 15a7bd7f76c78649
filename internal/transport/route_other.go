//go:build !linux && !darwin && !windows

package transport

import "context"

// watchRoutes waits for ctx to end: nothing tells of changes here.
func watchRoutes(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}
