package cloudrun

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const protoPackage = "google.cloud.run.v2."

// copier copies the fields that the rules say are to be copied. What it does not know it leaves, unknown fields of the
// wire included: proto.Clone would keep and send them again.
type copier struct {
	rules tables
}

// fields copies from src to dst. The two need not be of one type: fields go by name, and the decision by dst's type, so
// that a Revision fills a RevisionTemplate.
func (c copier) fields(dst, src proto.Message) { c.message(dst.ProtoReflect(), src.ProtoReflect()) }

func (c copier) message(dst, src protoreflect.Message) {
	rules := c.rules[shortName(dst.Descriptor())]
	src.Range(func(from protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to := dst.Descriptor().Fields().ByName(from.Name())
		if to == nil || to.Kind() != from.Kind() || to.Cardinality() != from.Cardinality() {
			return true
		}
		if rules[string(to.Name())].decision == provision.Copy {
			c.field(dst, to, v)
		}
		return true
	})
}

func (c copier) field(dst protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap(): // all maps of the schema are of scalars
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			dst.Mutable(f).Map().Set(k, e)
			return true
		})
	case f.IsList():
		list := dst.Mutable(f).List()
		for i := range v.List().Len() {
			e := v.List().Get(i)
			if f.Message() != nil {
				e = c.value(list.NewElement().Message(), e.Message())
			}
			list.Append(e)
		}
	case f.Message() != nil:
		dst.Set(f, c.value(dst.NewField(f).Message(), v.Message()))
	default:
		dst.Set(f, v)
	}
}

// value copies a message into a new one. Messages from outside Cloud Run's own schema (durations) are scalars all
// through, and hold nothing to decide about.
func (c copier) value(dst, src protoreflect.Message) protoreflect.Value {
	if ours(src.Descriptor()) {
		c.message(dst, src)
	} else {
		src.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			dst.Set(f, v)
			return true
		})
	}
	return protoreflect.ValueOfMessage(dst)
}

func ours(d protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(d.FullName()), protoPackage)
}

func shortName(d protoreflect.MessageDescriptor) string {
	return strings.TrimPrefix(string(d.FullName()), protoPackage)
}
