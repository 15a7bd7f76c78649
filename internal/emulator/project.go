package emulator

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The APIs that the emulator answers, by the names under which a project enables them. Each has a host of its own on the
// platform; here all are on one listener, told apart by their paths.
const (
	apiRun      = "run.googleapis.com"
	apiProjects = "cloudresourcemanager.googleapis.com"
	apiAccounts = "iam.googleapis.com"
	apiUsage    = "serviceusage.googleapis.com"
	apiPolicies = "orgpolicy.googleapis.com"
	apiRegistry = "artifactregistry.googleapis.com"
	apiSecrets  = "secretmanager.googleapis.com"
)

// apiTitle is what the platform calls an API.
func apiTitle(api string) string {
	titles := map[string]string{
		apiRun: "Cloud Run Admin API", apiProjects: "Cloud Resource Manager API", apiAccounts: "Identity and Access Management (IAM) API",
		apiUsage: "Service Usage API", apiPolicies: "Organization Policy API", apiRegistry: "Artifact Registry API", apiSecrets: "Secret Manager API",
	}
	if title := titles[api]; title != "" {
		return title
	}
	return api
}

// enabled refuses a request to an API that the project has not enabled, in the words of Google's front end.
func (a *admin) enabled(api, project string) error {
	if !a.isDisabled(api, project) {
		return nil
	}
	number := projectNumber(project)
	page := "https://console.developers.google.com/apis/api/" + api + "/overview?project=" + number
	st := status.Newf(codes.PermissionDenied, "%s has not been used in project %s before or it is disabled. Enable it by visiting %s then retry. "+
		"If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", apiTitle(api), number, page)
	full, err := st.WithDetails(
		&errdetails.ErrorInfo{Reason: "SERVICE_DISABLED", Domain: "googleapis.com", Metadata: map[string]string{
			"service": api, "serviceTitle": apiTitle(api), "consumer": "projects/" + number, "containerInfo": number, "activationUrl": page,
		}},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: "Google developers console API activation", Url: page}}},
	)
	if err != nil {
		return st.Err() // the message is worth more than an encoding error
	}
	return full.Err()
}

func (a *admin) isDisabled(api, project string) bool {
	if !slices.Contains(a.disabled, api) {
		return false
	}
	project = a.store.canonical(location{project: project}).project
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	return !a.store.enabled[projectAPI{project, api}]
}

// projectOf finds the project in a resource's name or a v1 path.
func projectOf(resource string) string {
	parts := strings.Split(resource, "/")
	for i, p := range parts[:len(parts)-1] {
		if p == "projects" || p == "namespaces" {
			project, _, _ := strings.Cut(parts[i+1], ":")
			return project
		}
	}
	return ""
}

// registerProject serves what of other APIs tells a client whether it will be able to do its work: which APIs are
// enabled, who may do what, which policies are in effect. Those for policies of accounts, repositories and secrets are
// there for the commands that grant a missing role.
func (a *admin) registerProject(mux *http.ServeMux) {
	get := func(api, pattern, method string, serve func(*http.Request) (any, error)) {
		mux.Handle("GET "+pattern, a.json(api, method, serve))
	}
	get(apiProjects, "/v1/projects/{p}", "GetProject", a.projectV1)
	get(apiProjects, "/v3/projects/{p}", "GetProject", a.projectV3)
	get(apiAccounts, "/v1/projects/{p}/serviceAccounts/{a}", "GetServiceAccount", a.serviceAccount)
	get(apiUsage, "/v1/projects/{p}/services/{s}", "GetServiceUsage", a.serviceUsage)
	get(apiUsage, "/v1/projects/{p}/services/:batchGet", "BatchGetServiceUsage", a.serviceUsages)
	mux.Handle("POST /v1/projects/{p}/services/{s}/:enable", a.json(apiUsage, "EnableService", a.enableService))
	get(apiPolicies, "/v2/projects/{p}/policies/{c}/:getEffectivePolicy", "GetEffectivePolicy", a.effectivePolicy)
	get(apiRegistry, "/v1/projects/{p}/locations/{l}/repositories/{r}", "GetRepository", a.repository)
	get(apiSecrets, "/v1/projects/{p}/secrets/{s}", "GetSecret", a.secretResource)
	get(apiSecrets, "/v1/projects/{p}/secrets/{s}/versions/{v}", "GetSecretVersion", a.secretResource)
	for _, g := range grantables() {
		for _, pattern := range g.patterns {
			for _, method := range g.reads {
				mux.Handle(method+" "+pattern+"/:getIamPolicy", a.json(g.api, "GetIamPolicy", a.getGranted(g)))
			}
			mux.Handle("POST "+pattern+"/:setIamPolicy", a.json(g.api, "SetIamPolicy", a.setGranted(g)))
			mux.Handle("POST "+pattern+"/:testIamPermissions", a.json(g.api, "TestIamPermissions", a.testGranted(g)))
		}
	}
}

// canonicalProject is the id of the project that a request names.
func (a *admin) canonicalProject(r *http.Request) string {
	return a.store.canonical(location{project: r.PathValue("p")}).project
}

// authorizeProject refuses who lacks a permission in a project.
func (a *admin) authorizeProject(r *http.Request, permission, resource string) error {
	return a.authorize(r.Context(), permission, resource, location{project: a.canonicalProject(r)})
}

func (a *admin) projectV1(r *http.Request) (any, error) {
	id := a.canonicalProject(r)
	if err := a.authorizeProject(r, "resourcemanager.projects.get", "projects/"+id); err != nil {
		return nil, err
	}
	return map[string]any{
		"projectId": id, "projectNumber": projectNumber(id), "name": id, "lifecycleState": "ACTIVE",
	}, nil
}

func (a *admin) projectV3(r *http.Request) (any, error) {
	id := a.canonicalProject(r)
	if err := a.authorizeProject(r, "resourcemanager.projects.get", "projects/"+id); err != nil {
		return nil, err
	}
	return map[string]any{
		"name": "projects/" + projectNumber(id), "projectId": id, "displayName": id, "state": "ACTIVE",
	}, nil
}

// serviceAccount describes any account: every one exists.
func (a *admin) serviceAccount(r *http.Request) (any, error) {
	email := r.PathValue("a")
	project := a.accountProject(r)
	if err := a.authorize(r.Context(), "iam.serviceAccounts.get", "projects/"+project+"/serviceAccounts/"+email, location{project: project}); err != nil {
		return nil, err
	}
	return map[string]any{
		"name": "projects/" + project + "/serviceAccounts/" + email, "projectId": project, "email": email, "uniqueId": projectNumber(email),
	}, nil
}

// accountProject is the project of the service account that a request names: the path may leave it open.
func (a *admin) accountProject(r *http.Request) string {
	if p := r.PathValue("p"); p != "-" {
		return a.canonicalProject(r)
	}
	user, domain, _ := strings.Cut(r.PathValue("a"), "@")
	if project, ok := strings.CutSuffix(domain, ".iam.gserviceaccount.com"); ok {
		return project
	}
	number, _, _ := strings.Cut(user, "-") // of a default account, NUMBER-compute@developer.gserviceaccount.com
	return a.store.canonical(location{project: number}).project
}

func (a *admin) serviceUsage(r *http.Request) (any, error) {
	id := a.canonicalProject(r)
	if err := a.authorizeProject(r, "serviceusage.services.get", "projects/"+id+"/services/"+r.PathValue("s")); err != nil {
		return nil, err
	}
	return a.usage(id, r.PathValue("s")), nil
}

func (a *admin) usage(project, api string) map[string]any {
	state := "ENABLED"
	if a.isDisabled(api, project) {
		state = "DISABLED"
	}
	parent := "projects/" + projectNumber(project)
	return map[string]any{
		"name": parent + "/services/" + api, "parent": parent, "state": state,
		"config": map[string]any{"name": api, "title": apiTitle(api)},
	}
}

// projectAPI is an API in a project.
type projectAPI struct{ project, api string }

// enableService enables an API in a project. The operation that it answers with is done.
func (a *admin) enableService(r *http.Request) (any, error) {
	id, api := a.canonicalProject(r), r.PathValue("s")
	if err := a.authorizeProject(r, "serviceusage.services.enable", "projects/"+id+"/services/"+api); err != nil {
		return nil, err
	}
	a.store.mu.Lock()
	a.store.enabled[projectAPI{id, api}] = true
	a.store.mu.Unlock()
	return map[string]any{
		"name": "operations/noop.DONE_OPERATION", "done": true,
		"response": map[string]any{
			"@type": "type.googleapis.com/google.api.serviceusage.v1.EnableServiceResponse", "service": a.usage(id, api),
		},
	}, nil
}

// maxBatch is how many services one batchGet may name.
const maxBatch = 30

func (a *admin) serviceUsages(r *http.Request) (any, error) {
	id := a.canonicalProject(r)
	if err := a.authorizeProject(r, "serviceusage.services.get", "projects/"+id); err != nil {
		return nil, err
	}
	names := r.URL.Query()["names"]
	if len(names) == 0 || len(names) > maxBatch {
		return nil, badRequest("names", fmt.Sprintf("The number of names should be between 1 and %d, is %d.", maxBatch, len(names)))
	}
	var services []map[string]any
	for _, name := range names {
		f, ok := fields(name, "projects/*/services/*")
		if !ok || a.store.canonical(location{project: f[0]}).project != id {
			return nil, badRequest("names", fmt.Sprintf("Invalid name %q: it should be in the format projects/%s/services/{service}.", name, r.PathValue("p")))
		}
		services = append(services, a.usage(id, f[1]))
	}
	return map[string]any{"services": services}, nil
}

// effectivePolicy shows a list constraint as it is in effect: what Options.Policies allows, else everything.
func (a *admin) effectivePolicy(r *http.Request) (any, error) {
	id, constraint := a.canonicalProject(r), r.PathValue("c")
	if err := a.authorizeProject(r, "orgpolicy.policy.get", "projects/"+id+"/policies/"+constraint); err != nil {
		return nil, err
	}
	rule := map[string]any{"allowAll": true}
	if values, limited := a.around.policies[constraint]; limited {
		rule = map[string]any{"values": map[string]any{"allowedValues": values}}
		if len(values) == 0 {
			rule = map[string]any{"denyAll": true}
		}
	}
	return map[string]any{
		"name": "projects/" + projectNumber(id) + "/policies/" + constraint,
		"spec": map[string]any{"rules": []any{rule}},
	}, nil
}

// repository describes any repository: every one exists.
func (a *admin) repository(r *http.Request) (any, error) {
	name := "projects/" + a.canonicalProject(r) + "/locations/" + r.PathValue("l") + "/repositories/" + r.PathValue("r")
	if err := a.authorizeProject(r, "artifactregistry.repositories.get", name); err != nil {
		return nil, err
	}
	return map[string]any{"name": name, "format": "DOCKER", "mode": "STANDARD_REPOSITORY"}, nil
}

// secretResource describes a secret, or a version of it, that Options.Secret knows; its value is nobody's business.
func (a *admin) secretResource(r *http.Request) (any, error) {
	id, short, version := a.canonicalProject(r), r.PathValue("s"), r.PathValue("v")
	name, permission := "projects/"+id+"/secrets/"+short, "secretmanager.secrets.get"
	if version != "" {
		permission = "secretmanager.versions.get"
	}
	if err := a.authorizeProject(r, permission, name); err != nil {
		return nil, err
	}
	if version == "" {
		version = "latest"
	}
	if a.secrets == nil {
		return nil, noSecret(id, short, r.PathValue("v"))
	}
	_, err := a.secrets(r.Context(), short, version)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = a.secrets(r.Context(), name, version)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSecret(id, short, r.PathValue("v"))
	}
	full := "projects/" + projectNumber(id) + "/secrets/" + short
	if v := r.PathValue("v"); v != "" {
		return map[string]any{"name": full + "/versions/" + v, "state": "ENABLED"}, nil
	}
	return map[string]any{"name": full, "replication": map[string]any{"automatic": map[string]any{}}}, nil
}

func noSecret(project, short, version string) error {
	name := "projects/" + projectNumber(project) + "/secrets/" + short
	if version != "" {
		return status.Errorf(codes.NotFound, "Secret Version [%s/versions/%s] not found.", name, version)
	}
	return status.Errorf(codes.NotFound, "Secret [%s] not found.", name)
}
