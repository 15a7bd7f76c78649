package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

// operationID is the annotation, in the answer to a write, that names the operation to wait for.
const operationID = runNamespace + "operation-id"

// v1Rules are the routes of v2's methods that v1 has in the same form, added to those given: IAM. Operations on services
// have answers of v1's own.
func v1Rules(given map[string][]httpRule) map[string][]httpRule {
	for _, kind := range []struct{ service, collection string }{{"Services", "services"}, {"Jobs", "jobs"}, {"WorkerPools", "workerPools"}} {
		for method, rule := range map[string]httpRule{
			"GetIamPolicy": {"GET", ":getIamPolicy", ""}, "SetIamPolicy": {"POST", ":setIamPolicy", "*"},
			"TestIamPermissions": {"POST", ":testIamPermissions", "*"},
		} {
			resource := "/{resource=projects/*/locations/*/" + kind.collection + "/*}" + rule.template
			given["google.cloud.run.v2."+kind.service+"."+method] = []httpRule{
				{rule.method, "/v2" + resource, rule.body}, {rule.method, "/v1" + resource, rule.body},
			}
		}
	}
	for _, method := range []string{"GetOperation", "WaitOperation"} {
		name := "google.longrunning.Operations." + method
		given[name] = slices.DeleteFunc(given[name], func(r httpRule) bool { return strings.HasPrefix(r.template, "/v1/") })
	}
	return given
}

// readV1 reads a request's body into a v1 resource; names that the schema does not have are refused.
func readV1(r *http.Request, into any) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "Reading the request's body: %v", err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	return decodeV1(raw, into)
}

func decodeV1(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		var value any
		if err = json.Unmarshal(raw, &value); err == nil && hasNull(value) {
			err = errors.New("a list has a null element")
		}
	}
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, unknown := strings.CutPrefix(text, "unknown field "); unknown {
		text = "Unknown name " + name + ": Cannot find field."
	}
	return badRequest("", "Invalid JSON payload received. "+text)
}

// hasNull tells whether a list in a JSON value has an element that is null.
func hasNull(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return e == nil || hasNull(e) })
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), hasNull)
	}
	return false
}

// readService reads and translates the service in a request's body. name is the one in the path, if that has one.
func readService(r *http.Request, l location, name string) (serviceName, *runpb.Service, error) {
	var k knative.Service
	if err := readV1(r, &k); err != nil {
		return serviceName{}, nil, err
	}
	meta, err := checkMeta(k.Metadata, k.Kind, "Service", l, name)
	if err != nil {
		return serviceName{}, nil, err
	}
	d := &specReader{}
	pb := d.service(&k)
	if meta.ResourceVersion != "" {
		pb.Etag = strconv.Quote(meta.ResourceVersion)
	}
	return serviceName{location: l, service: meta.Name}, pb, d.err()
}

// checkMeta checks what says of a written resource which one it is.
func checkMeta(meta *knative.ObjectMeta, kind, wantKind string, l location, name string) (*knative.ObjectMeta, error) {
	if l.region == "" {
		return nil, status.Error(codes.InvalidArgument, "The request names no region: use the endpoint of one, REGION-run.googleapis.com.")
	}
	meta = orEmpty(meta)
	d := &specReader{}
	if kind != "" && kind != wantKind {
		d.refuse("kind", "should be %s, but was: %s", wantKind, kind)
	}
	if ns := meta.Namespace; ns != "" && ns != l.project && ns != projectNumber(l.project) {
		d.refuse("metadata.namespace", "should be the project of the request, %s, but was: %s", l.project, ns)
	}
	if name != "" && meta.Name != name {
		d.refuse("metadata.name", "should be the name in the request's path, %s, but was: %s", name, meta.Name)
	}
	return meta, d.err()
}

// dryRun tells whether a request is only to be checked.
func dryRun(r *http.Request) (bool, error) {
	v := r.URL.Query().Get("dryRun")
	if v != "" && v != "all" {
		return false, badRequest("dry_run", fmt.Sprintf("dryRun: Unsupported value %q: expected all.", v))
	}
	return v == "all", nil
}

func (a *admin) v1CreateService(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	n, pb, err := readService(r, l, "")
	if err != nil {
		return nil, err
	}
	op, err := a.create(r.Context(), n, pb, dry)
	return written(op, err)
}

// v1ReplaceService changes a service to what is given. What v1 has no words for stays as it is.
func (a *admin) v1ReplaceService(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	n, pb, err := readService(r, l, r.PathValue("s"))
	if err != nil {
		return nil, err
	}
	if old, _ := a.snapshot(n); old != nil {
		keepUnsaid(old, pb)
	}
	pb.Name = n.String()
	op, err := a.UpdateService(r.Context(), &runpb.UpdateServiceRequest{Service: pb, ValidateOnly: dry})
	return written(op, err)
}

// keepUnsaid copies into next what v1 has no words for.
func keepUnsaid(old, next *runpb.Service) {
	next.MultiRegionSettings, next.BuildConfig = old.GetMultiRegionSettings(), old.GetBuildConfig()
	for _, c := range next.GetTemplate().GetContainers() {
		for _, was := range old.GetTemplate().GetContainers() {
			if was.GetName() == c.GetName() {
				c.SourceCode = was.GetSourceCode()
			}
		}
	}
}

// written is the answer to a write: the service as it is now, with the operation's name.
func written(op *longrunningpb.Operation, err error) (any, error) {
	if err != nil {
		return nil, v1Error(err)
	}
	s := &runpb.Service{}
	if err := op.GetMetadata().UnmarshalTo(s); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", op.GetName(), err)
	}
	k := knativeService(s)
	if !op.GetDone() {
		k.Metadata.Annotations[operationID] = path.Base(op.GetName())
	}
	return k, nil
}

func (a *admin) v1DeleteService(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	if _, err := checkMeta(nil, "", "", l, ""); err != nil {
		return nil, err
	}
	n := serviceName{location: l, service: r.PathValue("s")}
	_, err = a.DeleteService(r.Context(), &runpb.DeleteServiceRequest{Name: n.String(), ValidateOnly: dry})
	return deleted(n.service, "services", err)
}

func (a *admin) v1DeleteRevision(r *http.Request, l location) (any, error) {
	dry, err := dryRun(r)
	if err != nil {
		return nil, err
	}
	if _, err := checkMeta(nil, "", "", l, ""); err != nil {
		return nil, err
	}
	name := r.PathValue("r")
	found := a.v1Find(l, func(pb *runpb.Revision) bool { return shortName(pb.GetName()) == name })
	if len(found) == 0 {
		resource := "namespaces/" + l.project + "/revisions/" + name
		if err := a.authorize(r.Context(), "run.revisions.delete", resource, serviceName{location: l}); err != nil {
			return nil, err
		}
		return nil, rules.NotFound("REVISION", name, l.region, l.project)
	}
	_, err = a.DeleteRevision(r.Context(), &runpb.DeleteRevisionRequest{Name: found[0].pb.GetName(), ValidateOnly: dry})
	return deleted(name, "revisions", err)
}

// deleted is the answer to a deletion, which goes on after it.
func deleted(name, kind string, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return &knative.Status{Status: "Success", Details: &knative.StatusDetails{Name: name, Kind: kind}}, nil
}

func v1OperationName(r *http.Request, l location) string {
	return l.String() + "/operations/" + r.PathValue("o")
}

func (a *admin) v1GetOperation(r *http.Request, l location) (any, error) {
	op, err := a.GetOperation(r.Context(), &longrunningpb.GetOperationRequest{Name: v1OperationName(r, l)})
	return v1Operation(op, err)
}

func (a *admin) v1WaitOperation(r *http.Request, l location) (any, error) {
	var given struct {
		Timeout string `json:"timeout"`
	}
	if err := readV1(r, &given); err != nil {
		return nil, err
	}
	req := &longrunningpb.WaitOperationRequest{Name: v1OperationName(r, l)}
	if given.Timeout != "" {
		timeout, err := time.ParseDuration(given.Timeout)
		if err != nil {
			return nil, badRequest("timeout", fmt.Sprintf("Invalid value at 'timeout', %q.", given.Timeout))
		}
		req.Timeout = durationpb.New(timeout)
	}
	op, err := a.WaitOperation(r.Context(), req)
	return v1Operation(op, err)
}

// v1Operation is an operation in v1's words. One on a service answers with the service even when that failed: its
// conditions tell how.
func v1Operation(op *longrunningpb.Operation, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := map[string]any{"name": op.GetName()}
	if op.GetDone() {
		out["done"] = true
	}
	m, err := op.GetMetadata().UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", op.GetName(), err)
	}
	body, err := v1Any(m)
	if err != nil {
		return nil, err
	}
	out["metadata"] = body
	if op.GetDone() {
		out["response"] = body
	}
	return out, nil
}

// v1Any is a resource as an operation holds it: with its type.
func v1Any(m proto.Message) (map[string]any, error) {
	var k any = map[string]any{}
	switch m := m.(type) {
	case *runpb.Service:
		k = knativeService(m)
	case *runpb.Job:
		k = knativeJob(m)
	case *runpb.Execution:
		k = knativeExecution(m)
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	body := map[string]any{}
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	body["@type"] = "type.googleapis.com/google.cloud.run.v1." + string(m.ProtoReflect().Descriptor().Name())
	return body, nil
}

// v1Error says in v1's words where in the request a rule was broken.
func v1Error(err error) error {
	st := status.Convert(err)
	for _, detail := range st.Details() {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok || st.Code() != codes.InvalidArgument {
			continue
		}
		found := bad.GetFieldViolations()
		for _, v := range found {
			v.Field = v1Field(v.GetField())
		}
		return refuseFields(found)
	}
	return err
}

// v1Field is the place in a v1 resource of a field of v2's.
func v1Field(field string) string {
	if _, rest, ok := strings.Cut(field, "Request."); ok {
		field = strings.TrimPrefix(strings.TrimPrefix(rest, "service."), "job.")
	}
	places := map[string]string{
		"template.labels": "spec.template.metadata.labels", "template.annotations": "spec.template.metadata.annotations",
		"template.revision": "spec.template.metadata.name", "template.timeout": "spec.template.spec.timeoutSeconds",
		"template.max_instance_request_concurrency": "spec.template.spec.containerConcurrency",
		"template.service_account":                  "spec.template.spec.serviceAccountName",
		"template.node_selector":                    "spec.template.spec.nodeSelector",
		"template.template":                         "spec.template.spec.template.spec",
		"template":                                  "spec.template.spec", "traffic": "spec.traffic",
		"labels": "metadata.labels", "annotations": "metadata.annotations", "name": "metadata.name", "service_id": "metadata.name", "job_id": "metadata.name",
	}
	for _, place := range slices.Backward(sortedWords(slices.Collect(maps.Keys(places)))) {
		rest, ok := strings.CutPrefix(field, place)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return places[place] + lowerCamel(rest)
		}
	}
	return field
}

// lowerCamel turns .volume_mounts[0].mount_path into .volumeMounts[0].mountPath.
func lowerCamel(place string) string {
	head, rest, more := strings.Cut(place, "_")
	for more && rest != "" {
		var word string
		word, rest, more = strings.Cut(rest, "_")
		if word != "" {
			head += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return head
}
