package emulator

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// outputOnly tells whether clients cannot set a field of a resource: by the schema's own annotation, and the name, which
// the request carries elsewhere.
func outputOnly(fd protoreflect.FieldDescriptor) bool {
	if fd.Name() == "name" {
		return true
	}
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok {
		return false
	}
	behaviours, ok := proto.GetExtension(options, annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(behaviours, annotations.FieldBehavior_OUTPUT_ONLY)
}

// writable is a copy of what a client may set in a resource.
func writable[M proto.Message](s M) M {
	s = proto.CloneOf(s)
	m := s.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if fd := m.Descriptor().Fields().Get(i); outputOnly(fd) || fd.Name() == "etag" {
			m.Clear(fd)
		}
	}
	return s
}

// merge is current with what clients may set taken from next.
func merge[M proto.Message](current, next M) M {
	out, from := proto.CloneOf(current), writable(next)
	m := out.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if fd := m.Descriptor().Fields().Get(i); !outputOnly(fd) && fd.Name() != "etag" {
			copyField(m, from.ProtoReflect(), fd)
		}
	}
	return out
}

// masked is old with the fields of the mask, or all that a client may set, taken from given.
func masked[M proto.Message](old, given M, mask *fieldmaskpb.FieldMask) (M, error) {
	if len(mask.GetPaths()) == 0 || slices.Contains(mask.GetPaths(), "*") {
		return merge(old, given), nil
	}
	out := proto.CloneOf(old)
	for _, path := range mask.GetPaths() {
		if _, err := fieldmaskpb.New(old, path); err != nil {
			return old, status.Errorf(codes.InvalidArgument, "Invalid field path %q in update_mask.", path)
		}
		setPath(out.ProtoReflect(), given.ProtoReflect(), strings.Split(path, "."))
	}
	return merge(old, out), nil
}

// setPath copies what path leads to. A message on the way that the source does not have counts as empty.
func setPath(to, from protoreflect.Message, path []string) {
	fd := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) == 1 {
		copyField(to, from, fd)
		return
	}
	setPath(to.Mutable(fd).Message(), from.Get(fd).Message(), path[1:])
}

func copyField(to, from protoreflect.Message, fd protoreflect.FieldDescriptor) {
	if !from.Has(fd) {
		to.Clear(fd)
		return
	}
	to.Set(fd, from.Get(fd))
}
