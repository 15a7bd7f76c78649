package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// transcoder serves gRPC services as REST/JSON by the google.api.http rules in their own schema, so that the two
// dialects are one implementation: it is a grpc.ServiceRegistrar, and a method registered once answers both.
type transcoder struct {
	mux       *http.ServeMux
	custom    *http.ServeMux        // methods without a schema; apart, because their patterns overlap with the others
	rules     map[string][]httpRule // for methods whose schema rules are not Cloud Run's, by full name
	intercept grpc.UnaryServerInterceptor
}

// httpRule is a google.api.HttpRule: "GET" and "/v2/{name=projects/*/locations/*}/operations"; body is the field that the
// request's body goes into, "*" for the message itself.
type httpRule struct{ method, template, body string }

// runRules are the routes of the mixins that the Cloud Run API carries; their own schemas name others.
func runRules() map[string][]httpRule {
	const operation = "{name=projects/*/locations/*/operations/*}"
	return map[string][]httpRule{
		"google.longrunning.Operations.GetOperation":    {{"GET", "/v2/" + operation, ""}, {"GET", "/v1/" + operation, ""}},
		"google.longrunning.Operations.DeleteOperation": {{"DELETE", "/v2/" + operation, ""}, {"DELETE", "/v1/" + operation, ""}},
		"google.longrunning.Operations.WaitOperation":   {{"POST", "/v2/" + operation + ":wait", "*"}, {"POST", "/v1/" + operation + ":wait", "*"}},
		"google.longrunning.Operations.ListOperations":  {{"GET", "/v2/{name=projects/*/locations/*}/operations", ""}, {"GET", "/v1/{name=projects/*/locations/*}/operations", ""}},
		"google.longrunning.Operations.CancelOperation": {},
		"google.cloud.location.Locations.ListLocations": {{"GET", "/v1/{name=projects/*}/locations", ""}, {"GET", "/v2/{name=projects/*}/locations", ""}},
		"google.cloud.location.Locations.GetLocation":   {{"GET", "/v1/{name=projects/*/locations/*}", ""}, {"GET", "/v2/{name=projects/*/locations/*}", ""}},
	}
}

// RegisterService puts every unary method of a service on the mux.
func (t *transcoder) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		panic(fmt.Sprintf("emulator: service %s has no schema: %v", desc.ServiceName, err))
	}
	methods := d.(protoreflect.ServiceDescriptor).Methods()
	for _, m := range desc.Methods {
		md := methods.ByName(protoreflect.Name(m.MethodName))
		for _, rule := range t.rulesOf(md) {
			t.mux.Handle(t.endpoint(rule, m, impl))
		}
	}
}

func (t *transcoder) rulesOf(md protoreflect.MethodDescriptor) []httpRule {
	if rules, ok := t.rules[string(md.FullName())]; ok {
		return rules
	}
	options, _ := md.Options().(*descriptorpb.MethodOptions)
	rule, _ := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	var rules []httpRule
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		switch p := r.GetPattern().(type) {
		case *annotations.HttpRule_Get:
			rules = append(rules, httpRule{"GET", p.Get, r.GetBody()})
		case *annotations.HttpRule_Post:
			rules = append(rules, httpRule{"POST", p.Post, r.GetBody()})
		case *annotations.HttpRule_Patch:
			rules = append(rules, httpRule{"PATCH", p.Patch, r.GetBody()})
		case *annotations.HttpRule_Delete:
			rules = append(rules, httpRule{"DELETE", p.Delete, r.GetBody()})
		}
	}
	return rules
}

var templateVariable = regexp.MustCompile(`\{([a-z_.]+)=([^}]+)\}`)

// endpoint makes the mux pattern and the handler of one rule. A template has one variable, which covers several path
// segments: each becomes a wildcard of the mux, and the variable's value is put together again from them.
func (t *transcoder) endpoint(rule httpRule, m grpc.MethodDesc, impl any) (string, http.Handler) {
	variable := templateVariable.FindStringSubmatch(rule.template)
	field, segments := variable[1], strings.Split(variable[2], "/")
	for i, s := range segments {
		if s == "*" {
			segments[i] = fmt.Sprintf("{s%d}", i)
		}
	}
	pattern := splitVerb(strings.Replace(rule.template, variable[0], strings.Join(segments, "/"), 1))
	return rule.method + " " + pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value := make([]string, len(segments))
		for i, s := range segments {
			if value[i] = s; s[0] == '{' {
				value[i] = r.PathValue(s[1 : len(s)-1])
			}
		}
		decode := func(req any) error {
			return decodeRequest(r, req.(proto.Message), rule.body, field, strings.Join(value, "/"))
		}
		ctx := withAuthorization(r.Context(), r.Header.Get("Authorization"))
		resp, err := m.Handler(impl, ctx, decode, t.intercept)
		if err != nil {
			writeError(w, err)
			return
		}
		writeMessage(w, r, resp.(proto.Message))
	})
}

// splitVerb puts the custom verb of a path or template, ":getIamPolicy", into a segment of its own, because wildcards of
// the mux are whole segments.
func splitVerb(path string) string {
	slash := strings.LastIndexByte(path, '/')
	if colon := strings.LastIndexByte(path, ':'); colon > slash+1 && !strings.HasSuffix(path, "}") {
		return path[:colon] + "/" + path[colon:]
	}
	return path
}

// ServeHTTP serves a REST request.
func (t *transcoder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r2 := r.Clone(r.Context())
	r2.URL.Path, r2.URL.RawPath = splitVerb(r.URL.Path), ""
	if _, pattern := t.custom.Handler(r2); pattern != "" {
		t.custom.ServeHTTP(w, r2)
		return
	}
	if _, pattern := t.mux.Handler(r2); pattern == "" {
		notFoundPage(w, r)
		return
	}
	t.mux.ServeHTTP(w, r2)
}

// maxBody bounds a request's body; the platform's own limit for this API is not documented.
const maxBody = 10 << 20

// decodeRequest fills a request message from body, query and path, in this order of increasing precedence.
func decodeRequest(r *http.Request, m proto.Message, body, field, value string) error {
	msg := m.ProtoReflect()
	if body != "" {
		raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "Reading the request's body: %v", err)
		}
		target := msg
		if body != "*" {
			target = msg.Mutable(msg.Descriptor().Fields().ByName(protoreflect.Name(body))).Message()
		}
		if err := decodeJSON(raw, target, body); err != nil {
			return err
		}
	}
	for key, values := range r.URL.Query() {
		if systemParameter(key) {
			continue
		}
		err := errNoField
		if body != "*" {
			err = setParameter(msg, strings.Split(key, "."), values[len(values)-1])
		}
		if errors.Is(err, errNoField) {
			err = badRequest("", fmt.Sprintf("Invalid JSON payload received. Unknown name %q: Cannot bind query parameter. "+
				"Field '%s' could not be found in request message.", key, key))
		}
		if err != nil {
			return err
		}
	}
	return setParameter(msg, strings.Split(field, "."), value)
}

// systemParameter tells whether a query parameter is one that all Google APIs take
// (https://cloud.google.com/apis/docs/system-parameters).
func systemParameter(key string) bool {
	return slices.Contains([]string{
		"alt", "access_token", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser", "userIp",
		"uploadType", "upload_protocol", "$.xgafv",
	}, strings.TrimPrefix(key, "$"))
}

var errNoField = errors.New("no such field")

// withAuthorization makes of a REST request's credentials a gRPC request's.
func withAuthorization(ctx context.Context, authorization string) context.Context {
	if authorization == "" {
		return ctx
	}
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", authorization))
}

// setParameter sets a scalar field, or a field mask, from text. path names it in either spelling.
func setParameter(m protoreflect.Message, path []string, value string) error {
	fields := m.Descriptor().Fields()
	fd := fields.ByJSONName(path[0])
	if fd == nil {
		fd = fields.ByName(protoreflect.Name(path[0]))
	}
	if fd == nil || fd.IsList() || fd.IsMap() {
		return errNoField
	}
	if len(path) > 1 {
		if fd.Message() == nil {
			return errNoField
		}
		return setParameter(m.Mutable(fd).Message(), path[1:], value)
	}
	return setText(m, fd, value)
}

func setText(m protoreflect.Message, fd protoreflect.FieldDescriptor, value string) error {
	text := value
	switch {
	case fd.Message() != nil && fd.Message().FullName() == "google.protobuf.FieldMask":
		text = fmt.Sprintf("%q", camelPaths(value))
	case fd.Kind() == protoreflect.StringKind, fd.Message() != nil, fd.Kind() == protoreflect.EnumKind:
		text = fmt.Sprintf("%q", value)
	}
	one := m.New()
	if err := protojson.Unmarshal([]byte(fmt.Sprintf(`{%q:%s}`, fd.JSONName(), text)), one.Interface()); err != nil {
		return badRequest(string(fd.Name()), fmt.Sprintf("Invalid value at '%s': %q", fd.Name(), value))
	}
	m.Set(fd, one.Get(fd))
	return nil
}

// camelPaths accepts field masks in the schema's spelling too, as Google's front end does.
func camelPaths(mask string) string {
	var b strings.Builder
	for i := 0; i < len(mask); i++ {
		if mask[i] == '_' && i+1 < len(mask) {
			i++
			b.WriteString(strings.ToUpper(mask[i : i+1]))
			continue
		}
		b.WriteByte(mask[i])
	}
	return b.String()
}

// writeMessage answers with a message; `$alt=json;enum-encoding=int` asks for numbers in the place of enum names.
func writeMessage(w http.ResponseWriter, r *http.Request, m proto.Message) {
	alt := r.URL.Query()
	options := protojson.MarshalOptions{
		UseEnumNumbers: strings.Contains(alt.Get("$alt")+alt.Get("alt"), "enum-encoding=int"), Multiline: true,
	}
	raw, err := options.Marshal(m)
	if err != nil {
		writeError(w, status.Errorf(codes.Internal, "encoding the response: %v", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(append(raw, '\n')) // what can fail is the client's connection
}
