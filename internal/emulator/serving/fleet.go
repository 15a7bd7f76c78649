package serving

import (
	"context"
	"net/http"

	"cloud.google.com/go/run/apiv2/runpb"
)

// A Fleet is the instances of all revisions. It is safe for concurrent use.
type Fleet struct{ o Options }

func newFleet(o Options) (*Fleet, error)                                        { return &Fleet{o}, nil }
func (f *Fleet) deploy(context.Context, Revision, func(*runpb.Condition)) error { return nil }
func (f *Fleet) serve(Key, http.ResponseWriter, *http.Request)                  {}
func (f *Fleet) scale(Key, int, int)                                            {}
func (f *Fleet) remove(context.Context, Key) error                              { return nil }
func (f *Fleet) instances(Key) []string                                         { return nil }
func (f *Fleet) serveLogs(Key, http.ResponseWriter, *http.Request)              {}
func (f *Fleet) tail(Key, int) []string                                         { return nil }
func (f *Fleet) close(context.Context) error                                    { return nil }
