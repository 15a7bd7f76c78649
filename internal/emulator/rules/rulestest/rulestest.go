// Package rulestest is, for tests, a table of all that Cloud Run is documented to refuse in a service: what a request asks
// for and which field the answer names. One table serves the emulator, which must refuse each of them, and what checks a
// service before it is sent, which must not let them pass.
//
// The documentation is the API's schema (google.cloud.run.v2) and the pages under https://docs.cloud.google.com/run/docs:
// deploying, container-contract, configuring/{services/cpu,services/memory-limits,healthchecks,request-timeout,secrets},
// and known-issues. What the platform refuses because of what surrounds a service, such as the organisation's policies,
// is not in this table.
package rulestest

import (
	"slices"

	"cloud.google.com/go/run/apiv2/runpb"
)

// A Rejection is a service that Cloud Run refuses to create, with code INVALID_ARGUMENT.
type Rejection struct {
	Name string
	// Part is the part of the service that the rule is about: "service", "template", "container", "resources", "probe" or
	// "volume".
	Part string
	// ID is the service's id; empty means any good one.
	ID string
	// Edit spoils a good service of one container. Nil leaves it as it is.
	Edit func(s *runpb.Service, t *runpb.RevisionTemplate, c *runpb.Container)
	// Field is the one that the answer names in its BadRequest detail, without "Violation in CreateServiceRequest.".
	Field string
}

// Service is the least that Cloud Run takes, running an image.
func Service(image string) *runpb.Service {
	return &runpb.Service{Template: &runpb.RevisionTemplate{Containers: []*runpb.Container{{Image: image}}}}
}

// Spoiled is the service that Cloud Run refuses, running an image, and its id. good is the id to use when it is not the
// id that is wrong.
func (r Rejection) Spoiled(image, good string) (id string, s *runpb.Service) {
	s = Service(image)
	if r.Edit != nil {
		r.Edit(s, s.Template, s.Template.Containers[0])
	}
	if r.ID != "" {
		good = r.ID
	}
	return good, s
}

// Rejections is the table.
func Rejections() []Rejection {
	return slices.Concat(
		part("service", services()), part("template", templates()), part("template", networks()), part("container", containers()),
		part("container", environments()), part("container", several()), part("resources", resources()),
		part("resources", accelerators()), part("probe", probes()), part("volume", volumes()), part("volume", mounts()),
	)
}

func part(name string, all []Rejection) []Rejection {
	for i := range all {
		all[i].Part = name
	}
	return all
}

// Short names, because every row has them.
type (
	svc  = *runpb.Service
	tmpl = *runpb.RevisionTemplate
	box  = *runpb.Container
	edit = func(svc, tmpl, box)
)

const at = "template.containers[0]"

func onService(f func(svc)) edit   { return func(s svc, _ tmpl, _ box) { f(s) } }
func onTemplate(f func(tmpl)) edit { return func(_ svc, t tmpl, _ box) { f(t) } }
func onContainer(f func(box)) edit { return func(_ svc, _ tmpl, c box) { f(c) } }
func reserved() []string {
	return []string{"run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev"}
}
