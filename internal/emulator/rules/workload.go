package rules

import (
	"cmp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cloud.google.com/go/run/apiv2/runpb"
)

// Share copies into to what from has under the same name and type. The result shares from's messages: neither may be
// changed any more, unless one is a clone.
func Share[M proto.Message](to M, from proto.Message) M {
	source, target := from.ProtoReflect(), to.ProtoReflect()
	for i := range target.Descriptor().Fields().Len() {
		fd := target.Descriptor().Fields().Get(i)
		same := source.Descriptor().Fields().ByName(fd.Name())
		if same == nil || !source.Has(same) || !sameType(fd, same) {
			continue
		}
		target.Set(fd, source.Get(same))
	}
	return to
}

func sameType(a, b protoreflect.FieldDescriptor) bool {
	switch {
	case a.Kind() != b.Kind() || a.IsList() != b.IsList() || a.IsMap() != b.IsMap():
		return false
	case a.IsMap():
		return sameType(a.MapKey(), b.MapKey()) && sameType(a.MapValue(), b.MapValue())
	case a.Message() != nil:
		return a.Message().FullName() == b.Message().FullName()
	case a.Enum() != nil:
		return a.Enum().FullName() == b.Enum().FullName()
	}
	return true
}

// portless checks what jobs and worker pools have in common with a revision's template: all but an ingress container.
func (c *checker) portless(t *runpb.RevisionTemplate) {
	if a := t.GetServiceAccount(); a != "" && !emailSyntax.MatchString(a) {
		c.malformed("template.service_account", "should be the email address of a service account.")
	}
	c.vpcAccess(t.GetVpcAccess())
	c.encryption(t)
	c.volumes(t)
	c.portlessContainers(t)
	c.resources(t)
}

func (c *checker) portlessContainers(t *runpb.RevisionTemplate) {
	const at = "template.containers"
	containers := t.GetContainers()
	if len(containers) == 0 {
		c.malformed(at, "should contain at least one container.")
		return
	}
	if len(containers) > maxContainers {
		c.malformed(at, "should contain at most %d containers, contains %d.", maxContainers, len(containers))
	}
	c.containerNames(containers)
	for i, k := range containers {
		c.container(index(at, i), k, t.GetVolumes(), false)
	}
	c.dependencies(containers)
}

// rename takes over what another checker found in a resource that it took for a service.
func (c *checker) rename(found *checker, resource string) { c.absorb(found, resource, "template.") }

// absorb is rename for a resource whose own part is what the checker took for the service's template.
func (c *checker) absorb(found *checker, resource, part string) {
	shape := "Violation in " + found.request + "."
	renamed := func(field string) string {
		path, ofShape := strings.CutPrefix(field, shape+"service.")
		if rest, ok := strings.CutPrefix(path, "template."); ok {
			path = part + rest
		}
		if ofShape {
			return shape + resource + "." + path
		}
		return path
	}
	for _, v := range found.shape {
		c.shape = append(c.shape, violation(renamed(v.GetField()), "%s", []any{v.GetDescription()}))
	}
	for _, v := range found.meaning {
		c.meaning = append(c.meaning, violation(renamed(v.GetField()), "%s", []any{v.GetDescription()}))
	}
}

// id checks the identifier of a new resource; field is its name in the request.
func (c *checker) id(field, id string) {
	if len(id) > maxServiceID || !hostLabel.MatchString(id) {
		c.shape = append(c.shape, violation("Violation in "+c.request+"."+field,
			"only lowercase, digits, and hyphens; must begin with letter, and may not end with hyphen; must be less than 50 characters.", nil))
	}
}

// portlessDefaults completes, in place, the containers of a workload that nothing sends requests to.
func portlessDefaults(id string, containers []*runpb.Container, volumes []*runpb.Volume, vpc *runpb.VpcAccess) {
	if vpc != nil {
		vpc.Egress = cmp.Or(vpc.GetEgress(), runpb.VpcAccess_PRIVATE_RANGES_ONLY)
	}
	sql := map[string]bool{}
	for _, v := range volumes {
		sql[v.GetName()] = v.GetCloudSqlInstance() != nil
		if d := v.GetEmptyDir(); d != nil {
			d.Medium = cmp.Or(d.GetMedium(), runpb.EmptyDirVolumeSource_MEMORY)
		}
	}
	for i, c := range containers {
		if c.GetName() == "" && id != "" {
			c.Name = freeName(containers, id, i+1)
		}
		if c.GetResources() == nil {
			c.Resources = &runpb.ResourceRequirements{} // its CPU is always allocated
		}
		containerDefaults(c, false, sql)
	}
}
