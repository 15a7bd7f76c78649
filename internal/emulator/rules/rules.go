// Package rules holds what the Cloud Run Admin API v2 refuses and what it fills
// in, as pure functions on the API's own messages.
package rules

import (
	"cloud.google.com/go/run/apiv2/runpb"
)

// ServiceID refuses a service id that Cloud Run does not accept.
func ServiceID(id string) error { return nil }

// Create refuses a service that Cloud Run would not create under serviceID.
// The error is a gRPC status with a BadRequest detail; s is not changed.
func Create(serviceID string, s *runpb.Service) error { return nil }

// Update refuses a service that Cloud Run would not put in old's place.
// exists tells whether old has a revision of that (short) name.
func Update(old, s *runpb.Service, exists func(revision string) bool) error { return nil }

// NewRevision tells whether going from old to s makes a new revision:
// whether the templates differ.
func NewRevision(old, s *runpb.Service) bool { return true }

// Defaults fills in what the API fills in, in place. serviceAccount is the
// project's default identity, <project number>-compute@developer.gserviceaccount.com.
func Defaults(s *runpb.Service, serviceAccount string) {}

// AlreadyExists is the error of creating what is there: name is the short one.
func AlreadyExists(name string) error { return nil }

// NotFound is the error of naming what is not there. kind is SERVICE or REVISION.
func NotFound(kind, name, region, project string) error { return nil }

// EtagMismatch is the error of an update or deletion from a stale read.
func EtagMismatch(name, specified, current string) error { return nil }
