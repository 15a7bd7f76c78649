package emulator

import (
	"encoding/json"
	"io"
	"net/http"

	"cloud.google.com/go/iam/apiv1/iampb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cloudssh/cloudssh/internal/emulator/identity"
)

// resource is something of another API that has a policy of its own beside its project's: a service account, a
// repository, a secret.
type resource struct {
	location
	name string // an account's is its email
}

// grantable is a kind of resource whose policy can be read, set and tested.
type grantable struct {
	api      string
	patterns []string
	reads    []string // methods of getIamPolicy
	prefix   string   // of its permissions
	find     func(a *admin, r *http.Request) scope
}

func grantables() []grantable {
	post, get := []string{http.MethodPost}, []string{http.MethodGet}
	return []grantable{
		{apiProjects, []string{"/v1/projects/{p}", "/v3/projects/{p}"}, post, "resourcemanager.projects", func(a *admin, r *http.Request) scope {
			return location{project: a.canonicalProject(r)}
		}},
		{apiAccounts, []string{"/v1/projects/{p}/serviceAccounts/{a}"}, post, "iam.serviceAccounts", func(a *admin, r *http.Request) scope {
			return resource{location{project: a.accountProject(r)}, r.PathValue("a")}
		}},
		{apiRegistry, []string{"/v1/projects/{p}/locations/{l}/repositories/{r}"}, get, "artifactregistry.repositories", func(a *admin, r *http.Request) scope {
			id := a.canonicalProject(r)
			return resource{location{id, r.PathValue("l")}, "projects/" + id + "/locations/" + r.PathValue("l") + "/repositories/" + r.PathValue("r")}
		}},
		{apiSecrets, []string{"/v1/projects/{p}/secrets/{s}"}, get, "secretmanager.secrets", func(a *admin, r *http.Request) scope {
			return secretScope(a.canonicalProject(r), r.PathValue("s"))
		}},
	}
}

// secretScope is the secret of a short name.
func secretScope(project, short string) resource {
	return resource{location{project: project}, "projects/" + project + "/secrets/" + short}
}

// nameOf is how errors and faults name what a policy is about.
func nameOf(n scope) string {
	if r, ok := n.(resource); ok {
		return r.name
	}
	return "projects/" + n.place().project
}

func (a *admin) getGranted(g grantable) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		n := g.find(a, r)
		if err := a.authorize(r.Context(), g.prefix+".getIamPolicy", nameOf(n), n); err != nil {
			return nil, err
		}
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		p, err := a.store.policy(n)
		if err != nil {
			return nil, err
		}
		return rawJSON(p)
	}
}

func (a *admin) setGranted(g grantable) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		n := g.find(a, r)
		if err := a.authorize(r.Context(), g.prefix+".setIamPolicy", nameOf(n), n); err != nil {
			return nil, err
		}
		var req iampb.SetIamPolicyRequest
		if err := readMessage(r, &req); err != nil {
			return nil, err
		}
		if err := identity.CheckPolicy(req.GetPolicy()); err != nil {
			return nil, err
		}
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		p, err := a.store.setPolicy(n, req.GetPolicy())
		if err != nil {
			return nil, err
		}
		return rawJSON(p)
	}
}

func (a *admin) testGranted(g grantable) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		n := g.find(a, r)
		var req iampb.TestIamPermissionsRequest
		if err := readMessage(r, &req); err != nil {
			return nil, err
		}
		resp := &iampb.TestIamPermissionsResponse{}
		for _, p := range req.GetPermissions() {
			if a.allowed(r.Context(), p, nameOf(n), n) && !a.denies(p, r.PathValue("r")) {
				resp.Permissions = append(resp.Permissions, p)
			}
		}
		return rawJSON(resp)
	}
}

// denies tells whether the faults keep the registry's users from what a permission allows in a repository.
func (a *admin) denies(permission, repo string) bool {
	switch permission {
	case "artifactregistry.repositories.uploadArtifacts":
		return repo != "" && a.faults.DenyPush != nil && a.faults.DenyPush(repo)
	case "artifactregistry.repositories.downloadArtifacts":
		return repo != "" && a.faults.DenyPull != nil && a.faults.DenyPull(repo)
	}
	return false
}

func readMessage(r *http.Request, m proto.Message) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "Reading the request's body: %v", err)
	}
	return decodeJSON(raw, m.ProtoReflect(), "*")
}

func rawJSON(m proto.Message) (any, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "encoding the response: %v", err)
	}
	return json.RawMessage(raw), nil
}
