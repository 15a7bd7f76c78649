package emulator

import (
	"context"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// maxWait bounds one WaitOperation call that names no timeout.
const maxWait = 30 * time.Second

// operation is one long-running operation; it belongs to the store's mutex.
type operation struct {
	name    string
	created string               // sorts by creation
	current func() proto.Message // the resource as it is; the mutex is held. Nil when done
	last    proto.Message        // what current returned last, for when the resource is gone
	done    bool                 //
	result  proto.Message        // of a success
	failure *status.Status       // of a failure
}

// begin records an operation on the resource that current returns. The caller holds the mutex.
func (st *store) begin(l location, current func() proto.Message) *operation {
	o := &operation{name: l.String() + "/operations/" + newUID(), current: current}
	o.created = timeKey(st.timestamp(), o.name)
	st.operations[o.name] = o
	return o
}

// finish ends an operation with its result or error. The caller holds the mutex.
func (st *store) finish(o *operation, result proto.Message, failure error) {
	o.metadata()
	o.current, o.done, o.result = nil, true, result
	if failure != nil {
		o.failure, o.result = grpcstatus.Convert(failure).Proto(), nil
	}
	st.notify()
}

// metadata is the resource as it is or was last. The caller holds the mutex.
func (o *operation) metadata() proto.Message {
	if o.current != nil {
		if m := o.current(); m != nil {
			o.last = m
		}
	}
	return o.last
}

// proto is the operation as the API shows it. The caller holds the mutex.
func (o *operation) proto() (*longrunningpb.Operation, error) {
	pb := &longrunningpb.Operation{Name: o.name, Done: o.done}
	var err error
	if m := o.metadata(); m != nil {
		if pb.Metadata, err = anypb.New(m); err != nil {
			return nil, grpcstatus.Errorf(codes.Internal, "encoding the metadata of %s: %v", o.name, err)
		}
	}
	switch {
	case o.failure != nil:
		pb.Result = &longrunningpb.Operation_Error{Error: o.failure}
	case o.done:
		response, err := anypb.New(o.result)
		if err != nil {
			return nil, grpcstatus.Errorf(codes.Internal, "encoding the result of %s: %v", o.name, err)
		}
		pb.Result = &longrunningpb.Operation_Response{Response: response}
	}
	return pb, nil
}

// finished is an operation that was done at once and is not recorded, as for validate_only.
func finished(l location, metadata, result proto.Message) (*longrunningpb.Operation, error) {
	o := &operation{name: l.String() + "/operations/" + newUID(), last: metadata, done: true, result: result}
	return o.proto()
}

func noOperation(name string) error {
	return grpcstatus.Errorf(codes.NotFound, "Operation '%s' does not exist.", name)
}

// GetOperation returns the state of an operation; its metadata is the resource as it is now.
func (a *admin) GetOperation(ctx context.Context, req *longrunningpb.GetOperationRequest) (*longrunningpb.Operation, error) {
	if err := a.authorizeOperation(ctx, "run.operations.get", req.GetName()); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	o := a.store.operations[req.GetName()]
	if o == nil {
		return nil, noOperation(req.GetName())
	}
	return o.proto()
}

// WaitOperation waits until an operation is done, but no longer than the request's timeout, and returns its state.
func (a *admin) WaitOperation(ctx context.Context, req *longrunningpb.WaitOperationRequest) (*longrunningpb.Operation, error) {
	if err := a.authorizeOperation(ctx, "run.operations.get", req.GetName()); err != nil {
		return nil, err
	}
	timeout := maxWait
	if req.GetTimeout() != nil {
		timeout = req.GetTimeout().AsDuration()
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		o, changed, err := a.peek(req.GetName())
		if err != nil || o.GetDone() {
			return o, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return o, nil
		case <-ctx.Done():
			return nil, grpcstatus.FromContextError(ctx.Err()).Err()
		case <-a.ctx.Done():
			return nil, grpcstatus.Error(codes.Unavailable, "The emulator is stopping.")
		}
	}
}

func (a *admin) peek(name string) (*longrunningpb.Operation, <-chan struct{}, error) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	o := a.store.operations[name]
	if o == nil {
		return nil, nil, noOperation(name)
	}
	pb, err := o.proto()
	return pb, a.store.changed, err
}

// ListOperations lists the operations of a location, newest first. The only filters are "", "done:true", "done=true" and
// their opposites.
func (a *admin) ListOperations(ctx context.Context, req *longrunningpb.ListOperationsRequest) (*longrunningpb.ListOperationsResponse, error) {
	l, err := a.location("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.authorize(ctx, "run.operations.list", l.String(), serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := operationFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	var found []*operation
	for name, o := range a.store.operations {
		if strings.HasPrefix(name, l.String()+"/") && match(o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(x, y *operation) int { return newestFirst(x.created, y.created) })
	found, next, err := page(found, req.GetPageSize(), req.GetPageToken(), "operations "+l.String()+req.GetFilter(),
		func(o *operation) string { return o.created }, newerFirst)
	if err != nil {
		return nil, err
	}
	resp := &longrunningpb.ListOperationsResponse{NextPageToken: next}
	for _, o := range found {
		pb, err := o.proto()
		if err != nil {
			return nil, err
		}
		resp.Operations = append(resp.Operations, pb)
	}
	return resp, nil
}

func operationFilter(filter string) (func(*operation) bool, error) {
	switch strings.NewReplacer(" ", "", "=", ":").Replace(filter) {
	case "":
		return func(*operation) bool { return true }, nil
	case "done:true":
		return func(o *operation) bool { return o.done }, nil
	case "done:false", "-done:true":
		return func(o *operation) bool { return !o.done }, nil
	}
	return nil, grpcstatus.Errorf(codes.InvalidArgument, "Invalid filter %q.", filter)
}

// DeleteOperation forgets an operation; it goes on if it is not done.
func (a *admin) DeleteOperation(ctx context.Context, req *longrunningpb.DeleteOperationRequest) (*emptypb.Empty, error) {
	if err := a.authorizeOperation(ctx, "run.operations.delete", req.GetName()); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.store.operations[req.GetName()] == nil {
		return nil, noOperation(req.GetName())
	}
	delete(a.store.operations, req.GetName())
	return &emptypb.Empty{}, nil
}

func (a *admin) authorizeOperation(ctx context.Context, permission, name string) error {
	f, ok := fields(name, "projects/*/locations/*/operations/*")
	if !ok {
		return malformed("name", name, "projects/*/locations/*/operations/*")
	}
	return a.authorize(ctx, permission, name, serviceName{location: location{f[0], f[1]}})
}
