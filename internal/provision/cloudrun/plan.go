package cloudrun

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// plan says of every field what becomes of it. The values are read from what was derived, not from how: what the
// derivation did it cannot hide.
func (d *deriver) plan(target *runpb.Service, twin *runpb.Service) []provision.Field {
	p := &planner{rules: d.rules}
	p.message("", target.ProtoReflect(), twin.ProtoReflect(), "template")
	p.message("template.", d.rev.ProtoReflect(), twin.GetTemplate().ProtoReflect(), "containers", "volumes")
	for path, r := range beyond() {
		if !strings.Contains(path, "NAME") {
			p.add(path, r, "", "")
		}
	}
	d.planContainers(p, twin.GetTemplate().GetContainers())
	d.planVolumes(p, twin.GetTemplate().GetVolumes())
	noun, own := kindOf(target.GetName())
	for path, why := range own {
		p.add(path, rule{provision.Drop, why}, "", "")
	}
	for i := range p.found {
		p.found[i].Reason = strings.ReplaceAll(p.found[i].Reason, "the service", "the "+noun)
	}
	slices.SortFunc(p.found, func(a, b provision.Field) int { return cmp.Compare(a.Path, b.Path) })
	return p.found
}

// kindOf is what the resource of this name is called, with the fields that only its kind has, which a service cannot carry.
func kindOf(resource string) (noun string, own map[string]string) {
	switch {
	case strings.Contains(resource, "/jobs/"):
		const why = "a twin is one task, which waits for you"
		return "job", map[string]string{"template.parallelism": why, "template.task_count": why, "template.template.max_retries": why}
	case strings.Contains(resource, "/workerPools/"):
		return "worker pool", map[string]string{"instance_splits": "a twin is one instance"}
	}
	return "service", nil
}

// planContainers pairs those of the service with the twin's, which are in the same order.
func (d *deriver) planContainers(p *planner, twin []*runpb.Container) {
	for i, from := range d.rev.GetContainers() {
		path := elementPath("template.containers", from.GetName(), i)
		if !slices.Contains(d.kept, i) {
			p.add(path, rule{provision.Drop, "--no-sidecars"}, show(protoreflect.ValueOfMessage(from.ProtoReflect())), "")
			continue
		}
		to := twin[0]
		twin = twin[1:]
		if from.GetName() == "" {
			path = elementPath("template.containers", to.GetName(), i)
		}
		p.rules = d.containerTables(i)
		p.env = func(name string, is bool) string { return d.envReason(i, name, is) }
		p.message(path+".", from.ProtoReflect(), to.ProtoReflect())
		for name, r := range beyond() {
			if field, ok := strings.CutPrefix(name, "template.containers.NAME"); ok {
				p.add(path+field, r, "", "")
			}
		}
	}
	for _, to := range twin {
		p.add("template.containers."+to.GetName(), rule{provision.Change, "brings the agent, and stays: instances end with any of their containers"},
			"", show(protoreflect.ValueOfMessage(to.ProtoReflect())))
	}
}

func (d *deriver) planVolumes(p *planner, twin []*runpb.Volume) {
	p.rules = d.rules
	byName := func(all []*runpb.Volume, name string) int {
		return slices.IndexFunc(all, func(v *runpb.Volume) bool { return v.GetName() == name })
	}
	for i, from := range d.rev.GetVolumes() {
		path := elementPath("template.volumes", from.GetName(), i)
		if at := byName(twin, from.GetName()); at >= 0 {
			p.message(path+".", from.ProtoReflect(), twin[at].ProtoReflect())
			continue
		}
		p.add(path, rule{provision.Drop, d.left[from.GetName()]}, show(protoreflect.ValueOfMessage(from.ProtoReflect())), "")
	}
	for _, to := range twin {
		if byName(d.rev.GetVolumes(), to.GetName()) < 0 {
			why := "--set-secrets"
			if to.GetName() == d.agentVolume {
				why = "in memory; holds the agent, whatever the image and its user"
			}
			p.add("template.volumes."+to.GetName(), rule{provision.Change, why}, "", show(protoreflect.ValueOfMessage(to.ProtoReflect())))
		}
	}
}

// elementPath is that of an element of a list, by name when it has one.
func elementPath(list, name string, i int) string {
	if name == "" {
		return fmt.Sprintf("%s[%d]", list, i)
	}
	return list + "." + name
}

// planner gathers fields.
type planner struct {
	rules tables
	// env is the reason for a variable that is not as in the service; is tells whether the twin has it.
	env   func(name string, is bool) string
	found []provision.Field
}

func (p *planner) add(path string, r rule, from, to string) {
	f := provision.Field{Path: path, Decision: r.decision, Reason: r.why, From: from, To: to}
	switch {
	case r.why == outputOnly, r.why == identity: // the twin gets its own, which nobody knows yet
		f.From = ""
	case f.Differs() && f.Decision == provision.Copy: // such as the mount of a volume that stays behind
		f.Decision = provision.Change
	case !f.Differs() && f.From != "" && f.Decision == provision.Change: // such as limits that are enough
		f.Decision = provision.Copy
	}
	p.found = append(p.found, f)
}

// message goes through all fields of twin's type, but those named.
func (p *planner) message(path string, from, twin protoreflect.Message, except ...string) {
	rules := p.rules[shortName(twin.Descriptor())]
	fields := twin.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if name := string(f.Name()); !slices.Contains(except, name) {
			p.field(path+name, rules[name], f, from, twin)
		}
	}
	p.unknown(path, from)
}

func (p *planner) field(path string, r rule, f protoreflect.FieldDescriptor, from, twin protoreflect.Message) {
	src := from.Descriptor().Fields().ByName(f.Name())
	if src != nil && (src.Kind() != f.Kind() || src.Cardinality() != f.Cardinality()) {
		src = nil
	}
	had := src != nil && from.Has(src)
	switch {
	case src != nil && p.expands(f, had || twin.Has(f)):
		inner := &planner{rules: p.rules}
		inner.message(path+".", from.Get(src).Message(), twin.Get(f).Message())
		for _, n := range inner.found {
			if n.Reason == asThere && r.decision == provision.Copy { // the field as a whole knows better
				n.Reason = r.why
			}
			p.found = append(p.found, n)
		}
	case src != nil && f.IsMap() && f.Name() == "limits":
		p.limits(path, r, from.Get(src).Map(), twin.Get(f).Map())
	case src != nil && f.IsList() && f.Name() == "env":
		p.variables(path, r, from.Get(src).List(), twin.Get(f).List())
	default:
		was, is := "", ""
		if had {
			was = value(src, from.Get(src))
		}
		if twin.Has(f) {
			is = value(f, twin.Get(f))
		}
		if f.Kind() == protoreflect.BoolKind && (had || twin.Has(f)) && r.decision != provision.Drop {
			was, is = cmp.Or(was, "false"), cmp.Or(is, "false")
		}
		p.add(path, r, was, is)
	}
}

// expands reports whether a field is a message whose own fields are decided about one by one. One of several kinds (of
// volumes, of policies) is so only where it is the kind that there is.
func (p *planner) expands(f protoreflect.FieldDescriptor, there bool) bool {
	if f.Message() == nil || f.IsList() || f.IsMap() || !there && f.ContainingOneof() != nil {
		return false
	}
	switch shortName(f.Message()) {
	case "Probe", "NodeSelector": // as a whole
		return false
	}
	return p.rules[shortName(f.Message())] != nil
}

// limits lists what there can be and what there is.
func (p *planner) limits(path string, r rule, from, twin protoreflect.Map) {
	keys := map[string]bool{"cpu": true, "memory": true, gpuLimit: true}
	for _, m := range []protoreflect.Map{from, twin} {
		m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys[k.String()] = true
			return true
		})
	}
	get := func(m protoreflect.Map, key string) string {
		if k := protoreflect.ValueOfString(key).MapKey(); m.Has(k) {
			return m.Get(k).String()
		}
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		own := r
		if known, ok := p.rules["ResourceRequirements"]["limits."+key]; ok {
			own = known
		}
		p.add(path+"."+key, own, get(from, key), get(twin, key))
	}
}

// variables lists each by its name. Values are not shown: people put passwords there, for all that the platform says.
func (p *planner) variables(path string, r rule, from, twin protoreflect.List) {
	was, is := variablesOf(from), variablesOf(twin)
	if len(was)+len(is) == 0 {
		p.add(path, r, "", "")
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, b := was[name], is[name]
		switch {
		case b == nil:
			p.add(path+"."+name, rule{provision.Drop, p.env(name, false)}, variable(a), "")
		case a == nil:
			p.add(path+"."+name, rule{provision.Change, p.env(name, true)}, "", variable(b))
		case proto.Equal(a, b):
			p.add(path+"."+name, rule{provision.Copy, asThere}, variable(a), variable(b))
		default:
			to := variable(b)
			if variable(a) == to {
				to = "(another value)"
			}
			p.add(path+"."+name, rule{provision.Change, p.env(name, true)}, variable(a), to)
		}
	}
}

func variablesOf(list protoreflect.List) map[string]*runpb.EnvVar {
	all := map[string]*runpb.EnvVar{}
	for i := range list.Len() {
		if e, ok := list.Get(i).Message().Interface().(*runpb.EnvVar); ok {
			all[e.GetName()] = e
		}
	}
	return all
}

func variable(e *runpb.EnvVar) string {
	if ref := e.GetValueSource(); ref != nil {
		return show(protoreflect.ValueOfMessage(ref.ProtoReflect()))
	}
	return hidden
}

// hidden stands for a value that may be a secret.
const hidden = "(a value)"

// unknown lists what the wire carried and this version has no name for.
func (p *planner) unknown(path string, from protoreflect.Message) {
	seen := map[protowire.Number]bool{}
	for b := from.GetUnknown(); len(b) > 0; {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if !seen[number] {
			seen[number] = true
			p.add(fmt.Sprintf("%s(field %d)", path, number), rule{provision.Drop, "this version of cloudssh does not know it"}, hidden, "")
		}
	}
}

// value is a field's value as the API writes it.
func value(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.IsList():
		all := []json.RawMessage{}
		for i := range v.List().Len() {
			all = append(all, element(f, v.List().Get(i)))
		}
		return compact(all)
	case f.IsMap():
		all := map[string]json.RawMessage{}
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			all[k.String()] = element(f.MapValue(), e)
			return true
		})
		return compact(all)
	case f.Message() != nil:
		return strings.Trim(show(v), `"`) // durations and times are strings
	case f.Enum() != nil:
		return enumName(f, v)
	}
	return v.String()
}

// element is one of a list or map.
func element(f protoreflect.FieldDescriptor, v protoreflect.Value) json.RawMessage {
	switch {
	case f.Message() != nil:
		return json.RawMessage(show(v))
	case f.Enum() != nil:
		return json.RawMessage(compact(enumName(f, v)))
	}
	return json.RawMessage(compact(v.Interface()))
}

// enumName is a number's name, or the number when this version does not know it.
func enumName(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
		return string(e.Name())
	}
	return fmt.Sprint(v.Enum())
}

// show is a message in one line of JSON, always the same for the same message, without values that may be secrets.
func show(v protoreflect.Value) string {
	m := proto.Clone(v.Message().Interface())
	hide(m.ProtoReflect())
	b, err := protojson.Marshal(m)
	if err != nil { // text that is no UTF-8
		return "(" + err.Error() + ")"
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil { // protojson's blanks vary
		return "(" + err.Error() + ")"
	}
	return line.String()
}

// hide replaces values of variables and of headers.
func hide(m protoreflect.Message) {
	switch e := m.Interface().(type) {
	case *runpb.EnvVar:
		if _, literal := e.GetValues().(*runpb.EnvVar_Value); literal {
			e.Values = &runpb.EnvVar_Value{Value: hidden}
		}
	case *runpb.HTTPHeader:
		e.Value = hidden
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				hide(v.List().Get(i).Message())
			}
		default:
			hide(v.Message())
		}
		return true
	})
}

func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "(" + err.Error() + ")"
	}
	return strings.TrimSuffix(b.String(), "\n")
}
