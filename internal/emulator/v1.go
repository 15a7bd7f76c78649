package emulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	knative "google.golang.org/api/run/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/emulator/rules"
)

// knativeVersion is the apiVersion of the v1 dialect's resources.
const knativeVersion = "serving.knative.dev/v1"

// registerV1 serves the dialect of gcloud: services and revisions as Knative has them. Domain mappings, routes and
// configurations are absent.
func (a *admin) registerV1(mux *http.ServeMux) {
	for _, base := range []string{"/apis/serving.knative.dev/v1/namespaces/{p}", "/apis/serving.knative.dev/v1/projects/{p}", "/v1/projects/{p}/locations/{l}"} {
		mux.Handle("GET "+base+"/services", a.v1("ListServicesV1", a.v1Services))
		mux.Handle("POST "+base+"/services", a.v1("CreateServiceV1", a.v1CreateService))
		mux.Handle("GET "+base+"/services/{s}", a.v1("GetServiceV1", a.v1Service))
		mux.Handle("PUT "+base+"/services/{s}", a.v1("ReplaceServiceV1", a.v1ReplaceService))
		mux.Handle("DELETE "+base+"/services/{s}", a.v1("DeleteServiceV1", a.v1DeleteService))
		mux.Handle("GET "+base+"/revisions", a.v1("ListRevisionsV1", a.v1Revisions))
		mux.Handle("GET "+base+"/revisions/{r}", a.v1("GetRevisionV1", a.v1Revision))
		mux.Handle("DELETE "+base+"/revisions/{r}", a.v1("DeleteRevisionV1", a.v1DeleteRevision))
	}
	a.registerV1Jobs(mux)
	const operation = "/v1/projects/{p}/locations/{l}/operations/{o}"
	mux.Handle("GET "+operation, a.v1("GetOperationV1", a.v1GetOperation))
	mux.Handle("POST "+operation+"/:wait", a.v1("WaitOperationV1", a.v1WaitOperation)) // as splitVerb has it
}

// registerV1Jobs serves jobs, their executions and tasks.
func (a *admin) registerV1Jobs(mux *http.ServeMux) {
	const base = "/apis/run.googleapis.com/v1/namespaces/{p}"
	mux.Handle("GET "+base+"/jobs", a.v1("ListJobsV1", a.v1Jobs))
	mux.Handle("POST "+base+"/jobs", a.v1("CreateJobV1", a.v1CreateJob))
	mux.Handle("GET "+base+"/jobs/{j}", a.v1("GetJobV1", a.v1Job))
	mux.Handle("PUT "+base+"/jobs/{j}", a.v1("ReplaceJobV1", a.v1ReplaceJob))
	mux.Handle("DELETE "+base+"/jobs/{j}", a.v1("DeleteJobV1", a.v1DeleteJob))
	mux.Handle("POST "+base+"/jobs/{j}/:run", a.v1("RunJobV1", a.v1RunJob)) // as splitVerb has it
	mux.Handle("GET "+base+"/executions", a.v1("ListExecutionsV1", a.v1Executions))
	mux.Handle("GET "+base+"/executions/{e}", a.v1("GetExecutionV1", a.v1Execution))
	mux.Handle("DELETE "+base+"/executions/{e}", a.v1("DeleteExecutionV1", a.v1DeleteExecution))
	mux.Handle("POST "+base+"/executions/{e}/:cancel", a.v1("CancelExecutionV1", a.v1CancelExecution))
	mux.Handle("GET "+base+"/tasks", a.v1("ListTasksV1", a.v1Tasks))
	mux.Handle("GET "+base+"/tasks/{t}", a.v1("GetTaskV1", a.v1Task))
}

// v1 wraps a method in authentication and JSON.
func (a *admin) v1(method string, serve func(*http.Request, location) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := a.authenticate(r.Context(), r.Header.Get("Authorization"))
		if err == nil {
			err = a.fault(method, v1Resource(r.URL.Path))
		}
		var l location
		if err == nil {
			l, err = a.v1Location(r)
		}
		var body any
		if err == nil {
			body, err = serve(r.WithContext(ctx), l)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		// What remains to fail is the client's connection.
		_ = json.NewEncoder(w).Encode(body)
	})
}

// v1Resource is the name of the resource in a request's path.
func v1Resource(path string) string {
	_, resource, _ := strings.Cut(path, "/v1/")
	return resource
}

// v1Location is the location that a v1 request names. A namespaces path means the region of the endpoint's host name,
// us-central1-run.googleapis.com. The region "-", and the global endpoint, which names none, mean all regions.
func (a *admin) v1Location(r *http.Request) (location, error) {
	l := location{r.PathValue("p"), r.PathValue("l")}
	if l.region == "" {
		l.region, _ = regionOfHost(hostname(r.Host), a.regions)
	}
	if l.region == "" || l.region == "-" {
		l.region = ""
		return a.store.canonical(l), nil
	}
	return a.checkLocation("parent", l)
}

func (l location) includes(other location) bool {
	return l.project == other.project && (l.region == "" || l.region == other.region)
}

func (a *admin) v1Services(r *http.Request, l location) (any, error) {
	if err := a.authorize(r.Context(), "run.services.list", "namespaces/"+l.project+"/services", serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := parseSelectors(r.URL.Query())
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(a.store.list(func(n serviceName) bool { return l.includes(n.location) }, false), func(s *runpb.Service) bool {
		return !match(shortName(s.GetName()), s.GetLabels())
	})
	items, next, err := v1Page(r, all, serviceKey)
	if err != nil {
		return nil, err
	}
	list := &knative.ListServicesResponse{
		ApiVersion: knativeVersion, Kind: "ServiceList", Metadata: &knative.ListMeta{Continue: next},
		Unreachable: []string{}, ForceSendFields: []string{"Unreachable", "Items"}, Items: []*knative.Service{},
	}
	for _, s := range items {
		list.Items = append(list.Items, knativeService(s))
	}
	return list, nil
}

// v1Page applies limit and continue.
func v1Page[T any](r *http.Request, items []T, key func(T) string) ([]T, string, error) {
	q := r.URL.Query()
	limit := int64(0)
	if q.Get("limit") != "" {
		var err error
		if limit, err = strconv.ParseInt(q.Get("limit"), 10, 32); err != nil || limit > maxPageSize {
			return nil, "", status.Errorf(codes.InvalidArgument, "Invalid value for limit: %q.", q.Get("limit"))
		}
	}
	query := r.URL.Path + "?" + q.Get("labelSelector") + "&" + q.Get("fieldSelector")
	if limit == 0 {
		limit = maxPageSize
	}
	return page(items, int32(limit), q.Get("continue"), query, key, newerFirst)
}

func (a *admin) v1Service(r *http.Request, l location) (any, error) {
	n := serviceName{location: l, service: r.PathValue("s")}
	if err := a.authorize(r.Context(), "run.services.get", n.namespaced(), n); err != nil {
		return nil, err
	}
	found := a.store.list(func(have serviceName) bool { return l.includes(have.location) && have.service == n.service }, false)
	if len(found) == 0 {
		return nil, rules.NotFound("SERVICE", n.service, n.region, n.project)
	}
	return knativeService(found[0]), nil
}

// v1Found is a revision with what only the v1 API shows of it.
type v1Found struct {
	pb      *runpb.Revision
	pinned  *runpb.RevisionTemplate
	serving bool // traffic goes to it
}

func (a *admin) v1Find(l location, match func(*runpb.Revision) bool) []v1Found {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	var found []v1Found
	for n, s := range a.store.services {
		for _, r := range s.revisions {
			if l.includes(n.location) && match(r.pb) {
				found = append(found, v1Found{r.pb, r.template, s.serving(r)})
			}
		}
	}
	slices.SortFunc(found, func(x, y v1Found) int { return newestFirst(revisionKey(x.pb), revisionKey(y.pb)) })
	return found
}

func (a *admin) v1Revision(r *http.Request, l location) (any, error) {
	name := r.PathValue("r")
	found := a.v1Find(l, func(pb *runpb.Revision) bool { return shortName(pb.GetName()) == name })
	resource := "namespaces/" + l.project + "/revisions/" + name
	n := serviceName{location: l}
	if len(found) > 0 {
		n.service = found[0].pb.GetService()
	}
	if err := a.authorize(r.Context(), "run.revisions.get", resource, n); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, rules.NotFound("REVISION", name, l.region, l.project)
	}
	return knativeRevision(found[0]), nil
}

func (a *admin) v1Revisions(r *http.Request, l location) (any, error) {
	if err := a.authorize(r.Context(), "run.revisions.list", "namespaces/"+l.project+"/revisions", serviceName{location: l}); err != nil {
		return nil, err
	}
	match, err := parseSelectors(r.URL.Query())
	if err != nil {
		return nil, err
	}
	all := a.v1Find(l, func(pb *runpb.Revision) bool {
		return match(shortName(pb.GetName()), knativeRevisionLabels(pb))
	})
	items, next, err := v1Page(r, all, func(f v1Found) string { return revisionKey(f.pb) })
	if err != nil {
		return nil, err
	}
	shown := []*shownRevision{}
	for _, f := range items {
		shown = append(shown, knativeRevision(f))
	}
	return map[string]any{
		"apiVersion": knativeVersion, "kind": "RevisionList", "metadata": &knative.ListMeta{Continue: next},
		"unreachable": []string{}, "items": shown,
	}, nil
}

// parseSelectors reads labelSelector (equality, inequality, existence, and sets) and fieldSelector=metadata.name=.
func parseSelectors(q url.Values) (func(name string, labels map[string]string) bool, error) {
	byLabel, err := parseLabelSelector(q.Get("labelSelector"))
	if err != nil {
		return nil, err
	}
	field := q.Get("fieldSelector")
	wanted, isName := strings.CutPrefix(strings.Replace(field, "==", "=", 1), "metadata.name=")
	if field != "" && !isName {
		return nil, status.Errorf(codes.InvalidArgument, "Unsupported fieldSelector %q: only metadata.name=NAME is supported.", field)
	}
	return func(name string, labels map[string]string) bool {
		return (field == "" || name == wanted) && byLabel(labels)
	}, nil
}

// rfc3339 is a time as the v1 API writes it.
func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
