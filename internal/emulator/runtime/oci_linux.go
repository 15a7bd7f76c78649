package runtime

import "context"

func newAuto(_ context.Context, o Options) (Runtime, error) {
	return nil, &UnavailableError{Kind: o.Kind, Reason: "not installed"}
}

func newOCI(_ context.Context, o Options) (Runtime, error) {
	return nil, &UnavailableError{Kind: o.Kind, Reason: "not installed"}
}
