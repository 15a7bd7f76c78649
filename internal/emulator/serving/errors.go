package serving

import (
	"errors"

	"cloud.google.com/go/run/apiv2/runpb"
)

// ErrExists is returned by Deploy for a revision that was deployed already.
var ErrExists = errors.New("revision exists")

// ErrRemoved is returned by Deploy for a revision that was removed while it was deployed, and after Close.
var ErrRemoved = errors.New("revision was removed")

// A DeployError says why a revision cannot serve traffic, in the platform's words. Its reason is that of
// the Common and Revision fields that is not 0.
type DeployError struct {
	Condition string // the type of the condition that failed: "ContainerHealthy", ...
	Common    runpb.Condition_CommonReason
	Revision  runpb.Condition_RevisionReason
	Message   string
	Err       error // the cause; may be nil
}

func (e *DeployError) Error() string { return e.Message }

func (e *DeployError) Unwrap() error { return e.Err }

// Fail makes a condition say this error: state, severity, reason and message.
func (e *DeployError) Fail(c *runpb.Condition) {
	c.State = runpb.Condition_CONDITION_FAILED
	c.Severity = runpb.Condition_ERROR
	c.Message = e.Message
	switch {
	case e.Revision != 0:
		c.Reasons = &runpb.Condition_RevisionReason_{RevisionReason: e.Revision}
	case e.Common != 0:
		c.Reasons = &runpb.Condition_Reason{Reason: e.Common}
	}
}
