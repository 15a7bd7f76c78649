package emulator

import (
	"context"

	"cloud.google.com/go/run/apiv2/runpb"
)

// execution is one run of a job; all of it belongs to the store's mutex.
type execution struct {
	name   executionName
	pb     *runpb.Execution
	cancel context.CancelCauseFunc
}
