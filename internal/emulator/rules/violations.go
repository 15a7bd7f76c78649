package rules

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

const (
	createRequest = "CreateServiceRequest"
	updateRequest = "UpdateServiceRequest"
)

// checker collects violations. Methods named after a part of the service check
// that part; their path argument is that part's place, e.g. template.containers[0].
type checker struct {
	request string // the request's message name, for the first kind of violation
	shape   []*errdetails.BadRequest_FieldViolation
	meaning []*errdetails.BadRequest_FieldViolation
}

// malformed notes what the request's own shape makes impossible.
func (c *checker) malformed(path, format string, args ...any) {
	c.shape = append(c.shape, violation("Violation in "+c.request+".service."+path, format, args))
}

// refused notes what only the whole of the service makes impossible.
func (c *checker) refused(path, format string, args ...any) {
	c.meaning = append(c.meaning, violation(path, format, args))
}

func violation(field, format string, args []any) *errdetails.BadRequest_FieldViolation {
	return &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)}
}

// err is the platform's answer. Like the platform it speaks about the meaning
// only when the shape is right.
func (c *checker) err() error {
	found := c.shape
	if len(found) == 0 {
		found = c.meaning
	}
	if len(found) == 0 {
		return nil
	}
	lines := make([]string, len(found))
	for i, v := range found {
		lines[i] = v.GetField() + ": " + v.GetDescription()
	}
	return detailed(codes.InvalidArgument, strings.Join(lines, "\n"), &errdetails.BadRequest{FieldViolations: found})
}

// detailed is a status with details; without them where they cannot be encoded,
// since the code and the message are worth more than an encoding error.
func detailed(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	plain := status.New(code, message)
	if full, err := plain.WithDetails(details...); err == nil {
		return full.Err()
	}
	return plain.Err()
}

// AlreadyExists is the answer to creating what is there; name is the short one.
func AlreadyExists(name string) error {
	return status.Errorf(codes.AlreadyExists, "Resource '%s' already exists.", name)
}

func revisionExists(name string) error {
	return status.Errorf(codes.AlreadyExists, "Revision named '%s' with different configuration already exists.", name)
}

// NotFound is the answer to naming what is not there. kind is SERVICE or
// REVISION, name the short name.
func NotFound(kind, name, region, project string) error {
	return status.Errorf(codes.NotFound, "Resource '%s' of kind '%s' in region '%s' in project '%s' does not exist.",
		name, kind, region, project)
}

// EtagMismatch is the answer to a change that rests on a stale read.
func EtagMismatch(name, specified, current string) error {
	return status.Errorf(codes.Aborted, "Conflict for resource '%s': version '%s' was specified but current version is '%s'.",
		name, specified, current)
}
