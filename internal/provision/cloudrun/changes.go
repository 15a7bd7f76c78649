package cloudrun

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cloud.google.com/go/run/apiv2/runpb"
)

// Change is one field in which a twin differs from its service.
type Change struct {
	// Field is its path, containers and volumes by name: "template.containers.app.liveness_probe".
	Field    string
	Decision Decision
	Reason   string
}

// changes compares a twin with what it was derived from. It is not part of the derivation, so it cannot hide what that
// did.
func changes(target *runpb.Service, rev *runpb.Revision, twin *runpb.Service) []Change {
	d := differ{rules: fieldRules()}
	d.message("", target.ProtoReflect(), twin.ProtoReflect(), "template")
	d.message("template.", rev.ProtoReflect(), twin.GetTemplate().ProtoReflect(), "containers", "volumes")
	byName(&d, "template.containers.", rev.GetContainers(), twin.GetTemplate().GetContainers())
	byName(&d, "template.volumes.", rev.GetVolumes(), twin.GetTemplate().GetVolumes())
	slices.SortFunc(d.found, func(a, b Change) int { return strings.Compare(a.Field, b.Field) })
	return d.found
}

type differ struct {
	rules map[string]map[string]rule
	found []Change
}

// message compares the fields of twin's type, by name, apart from those named.
func (d *differ) message(path string, from, twin protoreflect.Message, except ...string) {
	rules := d.rules[shortName(twin.Descriptor())]
	fields := twin.Descriptor().Fields()
	for i := range fields.Len() {
		to := fields.Get(i)
		name := string(to.Name())
		if slices.Contains(except, name) {
			continue
		}
		src := from.Descriptor().Fields().ByName(to.Name())
		if src == nil || src.Kind() != to.Kind() {
			if twin.Has(to) { // a field that a Revision lacks, set in its twin's template
				d.add(path+name, rules[name])
			}
			continue
		}
		was, is := from.Get(src), twin.Get(to)
		if from.Has(src) == twin.Has(to) && (!twin.Has(to) || was.Equal(is)) {
			continue
		}
		if d.inside(to) && from.Has(src) && twin.Has(to) {
			d.message(path+name+".", was.Message(), is.Message())
			continue
		}
		d.add(path+name, rules[name])
	}
}

// inside reports whether a field is a message whose own fields have been decided about.
func (d *differ) inside(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && !f.IsList() && !f.IsMap() && d.rules[shortName(f.Message())] != nil
}

// add leaves out what only the platform writes: nobody would expect that in the twin.
func (d *differ) add(field string, r rule) {
	if r.why == outputOnly {
		return
	}
	d.found = append(d.found, Change{Field: field, Decision: r.decision, Reason: r.why})
}

type named interface {
	proto.Message
	GetName() string
}

// byName compares the elements of two lists that are in the same order, and reports those that the twin lacks.
func byName[M named](d *differ, path string, from, twin []M) {
	for _, e := range from {
		i := slices.IndexFunc(twin, func(t M) bool { return t.GetName() == e.GetName() })
		switch {
		case i >= 0:
			d.message(path+e.GetName()+".", e.ProtoReflect(), twin[i].ProtoReflect())
		case e.GetName() == "" && len(twin) > 0:
			d.message(path, e.ProtoReflect(), twin[0].ProtoReflect())
		default:
			d.add(path+e.GetName(), rule{Dropped, "this version of cloudssh does not know its kind"})
		}
	}
}
