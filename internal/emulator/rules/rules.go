// Package rules holds what the Cloud Run Admin API v2 refuses and what it fills
// in, as pure functions on the API's own messages.
//
// The platform checks twice and words the two differently; so do we. What is
// wrong with the shape of the request alone reads
//
//	Violation in CreateServiceRequest.service.template.containers[0].ports: ports should contain 0 or 1 port.
//
// and what is wrong with its meaning reads
//
//	template.containers[0].env: The following reserved env names were provided: PORT. ...
//
// In both the part before the colon is also the field of the BadRequest detail,
// as the platform's own errors have it (GoogleCloudPlatform/magic-modules#10173
// and hashicorp/terraform-provider-google#26877 show one of each). Where a
// message of the platform is on public record it is used word for word; the
// others are ours in its style.
//
// # Differences from the platform
//
// What Cloud Run does and this package does otherwise:
//
//   - Several violations are all reported, each on its own line of the message.
//   - Where no source tells whether the platform refuses something, it is accepted.
//   - Quotas are not looked at.
//   - The total time of a startup probe is held to 240 s, the older of two documented
//     limits.
//   - Of the preview features only service_mesh is known as one that needs launch
//     stage BETA.
package rules

import (
	"google.golang.org/protobuf/proto"

	"cloud.google.com/go/run/apiv2/runpb"
)

// ServiceID refuses a service id that Cloud Run does not accept: fewer than 50
// lowercase letters, digits and hyphens, beginning with a letter and not ending
// with a hyphen.
func ServiceID(id string) error {
	c := &checker{request: createRequest}
	c.serviceID(id)
	return c.err()
}

// Create refuses a service that Cloud Run would not create under serviceID.
// The error is an InvalidArgument status with a BadRequest detail. s is not
// changed; output-only fields and the name in it are ignored.
func Create(serviceID string, s *runpb.Service) error {
	c := &checker{request: createRequest}
	c.serviceID(serviceID)
	c.service(serviceID, s, nil)
	c.traffic(serviceID, s, func(revision string) bool {
		return revision == s.GetTemplate().GetRevision()
	})
	return c.err()
}

// Update refuses a service that Cloud Run would not put in old's place. s is the
// whole new state, with any update mask applied and preferably with Defaults
// filled in, so that an unchanged template is seen to be unchanged. exists tells
// whether the service already has a revision of that short name. Besides
// InvalidArgument the error can be AlreadyExists, for a taken revision name.
func Update(old, s *runpb.Service, exists func(revision string) bool) error {
	id := serviceIDOf(old)
	revision := s.GetTemplate().GetRevision()
	c := &checker{request: updateRequest}
	c.service(id, s, old)
	c.traffic(id, s, func(name string) bool { return name == revision || exists(name) })
	if err := c.err(); err != nil {
		return err
	}
	if revision != "" && NewRevision(old, s) && exists(revision) {
		return revisionExists(revision)
	}
	return nil
}

// NewRevision tells whether going from old to s makes a new revision, which is
// so when the templates differ. Both should have their Defaults.
func NewRevision(old, s *runpb.Service) bool {
	return !proto.Equal(old.GetTemplate(), s.GetTemplate())
}
