package identity

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/expr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/iam/apiv1/iampb"
)

func TestMembers(t *testing.T) {
	for _, test := range []struct {
		member, email string
		want          bool
	}{
		{"allUsers", "", true},
		{"allUsers", person, true},
		{"allAuthenticatedUsers", "", false},
		{"allAuthenticatedUsers", person, true},
		{"user:" + person, person, true},
		{"user:DEV@Example.com", person, true},
		{"user:" + person, "other@example.com", false},
		{"user:" + person, "", false},
		{"serviceAccount:" + robot, robot, true},
		{"user:" + robot, robot, false},
		{"serviceAccount:" + person, person, false},
		{"domain:example.com", person, true},
		{"domain:ample.com", person, false},
		{"domain:demo.iam.gserviceaccount.com", robot, false},
		{"domain:", "", false},
		{"group:team@example.com", "team@example.com", false},
		{person, person, false},
	} {
		policy := Bind([]string{test.member}, "roles/run.invoker")
		if got := Allowed(test.email, "run.routes.invoke", policy); got != test.want {
			t.Errorf("%q as %q: %v, want %v", test.email, test.member, got, test.want)
		}
	}
}

// TestRoles holds the pairs that decide something here against
// github:iann0036/iam-dataset at the commit that roles.go names.
func TestRoles(t *testing.T) {
	const (
		invoke  = "run.routes.invoke"
		create  = "run.services.create"
		wait    = "run.operations.get"
		read    = "run.services.get"
		policy  = "run.services.setIamPolicy"
		grant   = "resourcemanager.projects.setIamPolicy"
		project = "resourcemanager.projects.get"
		actAs   = "iam.serviceAccounts.actAs"
		account = "iam.serviceAccounts.get"
		token   = "iam.serviceAccounts.getAccessToken"
		idToken = "iam.serviceAccounts.getOpenIdToken"
		pull    = "artifactregistry.repositories.downloadArtifacts"
		push    = "artifactregistry.repositories.uploadArtifacts"
		untag   = "artifactregistry.tags.delete"
		logs    = "logging.logEntries.list"
		readJob = "run.jobs.get"
		runJob  = "run.jobs.run"
		cancel  = "run.executions.cancel"
		pool    = "run.workerpools.create"
		usage   = "serviceusage.services.get"
		enable  = "serviceusage.services.enable"
		rules   = "orgpolicy.policy.get"
		secret  = "secretmanager.secrets.get"
		value   = "secretmanager.versions.access"
	)
	all := []string{invoke, create, wait, read, policy, grant, project, actAs, account, token, idToken, pull, push, untag, logs, readJob, runJob, cancel, pool, usage, enable, rules, secret, value}
	for role, has := range map[string][]string{
		"roles/owner":                                {invoke, create, wait, read, policy, grant, project, actAs, account, pull, push, untag, logs, readJob, runJob, cancel, pool, usage, enable, rules, secret, value},
		"roles/editor":                               {invoke, create, wait, read, project, actAs, account, pull, push, untag, logs, readJob, runJob, cancel, pool, usage, enable, rules, secret},
		"roles/viewer":                               {wait, read, project, account, pull, logs, readJob, usage, rules, secret},
		"roles/run.admin":                            {invoke, create, wait, read, policy, project, readJob, runJob, cancel, pool},
		"roles/run.developer":                        {invoke, create, wait, read, project, readJob, runJob, cancel, pool},
		"roles/run.sourceDeveloper":                  {invoke, create, wait, read, project, pull, readJob, runJob, cancel, pool, usage, rules},
		"roles/run.viewer":                           {wait, read, project, readJob},
		"roles/run.invoker":                          {invoke, runJob},
		"roles/run.servicesInvoker":                  {invoke},
		"roles/iam.serviceAccountUser":               {project, actAs, account},
		"roles/iam.serviceAccountTokenCreator":       {project, account, token, idToken},
		"roles/iam.serviceAccountOpenIdTokenCreator": {idToken},
		"roles/artifactregistry.reader":              {project, pull},
		"roles/artifactregistry.writer":              {project, pull, push},
		"roles/artifactregistry.repoAdmin":           {project, pull, push, untag},
		"roles/artifactregistry.admin":               {project, pull, push, untag},
		"roles/logging.viewer":                       {project, logs},
		"roles/run.jobsExecutor":                     {runJob, cancel},
		"roles/browser":                              {project},
		"roles/secretmanager.secretAccessor":         {project, value},
		"roles/secretmanager.viewer":                 {project, secret},
		"roles/serviceusage.serviceUsageViewer":      {usage},
		"roles/serviceusage.serviceUsageConsumer":    {usage},
		"roles/serviceusage.serviceUsageAdmin":       {usage, enable},
		"roles/orgpolicy.policyViewer":               {rules},
		"roles/unheard.of":                           nil,
		"projects/p/roles/owner":                     nil,
		"owner":                                      nil,
	} {
		p := Bind([]string{Member(person)}, role)
		for _, permission := range all {
			want := slices.Contains(has, permission)
			if got := Allowed(person, permission, p); got != want {
				t.Errorf("%s, %s: %v, want %v", role, permission, got, want)
			}
		}
	}
}

func TestPoliciesAdd(t *testing.T) {
	service, project := Bind([]string{Member(person)}, "roles/run.invoker"), Bind([]string{Member(person)}, "roles/run.viewer")
	for _, permission := range []string{"run.routes.invoke", "run.services.get"} {
		if !Allowed(person, permission, service, nil, project) {
			t.Errorf("%s not allowed by the two together", permission)
		}
	}
	if Allowed(person, "run.services.create", service, project) || Allowed(person, "run.routes.invoke") {
		t.Error("allowed without a binding")
	}
	service.Bindings[0].Condition = &expr.Expr{Expression: "true"}
	if Allowed(person, "run.routes.invoke", service) {
		t.Error("a conditional binding granted something")
	}
}

func TestCheckPolicy(t *testing.T) {
	policy := func(role string, members ...string) *iampb.Policy { return Bind(members, role) }
	conditional := func(version int32) *iampb.Policy {
		p := policy("roles/run.invoker", "allUsers")
		p.Version, p.Bindings[0].Condition = version, &expr.Expr{Expression: "true"}
		return p
	}
	for name, test := range map[string]struct {
		policy *iampb.Policy
		text   string // empty = accepted
	}{
		"nil":             {nil, ""},
		"all kinds":       {policy("roles/run.invoker", "allUsers", "allAuthenticatedUsers", "user:a@b.c", "serviceAccount:"+robot, "group:g@b.c", "domain:b.c", "principal://iam.googleapis.com/x"), ""},
		"custom role":     {policy("projects/p/roles/r", "allUsers"), ""},
		"role":            {policy("run.invoker", "allUsers"), "run.invoker"},
		"role empty":      {policy("roles/", "allUsers"), "roles/"},
		"member bare":     {policy("roles/run.invoker", "a@b.c"), "Invalid member: a@b.c"},
		"member empty":    {policy("roles/run.invoker", "user:"), "Invalid member"},
		"member no email": {policy("roles/run.invoker", "user:me"), "user:me"},
		"condition v3":    {conditional(3), ""},
		"condition v1":    {conditional(1), "version 3"},
		"version":         {&iampb.Policy{Version: 2}, "version 2"},
	} {
		err := CheckPolicy(test.policy)
		if test.text == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want InvalidArgument with %q", name, err, test.text)
		}
	}
}

func TestPermissionDenied(t *testing.T) {
	const resource = "projects/p/locations/r/services/hello"
	s := status.Convert(PermissionDenied("run.services.get", resource))
	if want := "Permission 'run.services.get' denied on resource '" + resource + "' (or resource may not exist)."; s.Code() != codes.PermissionDenied || s.Message() != want {
		t.Errorf("got %v", s)
	}
	info, ok := s.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetReason() != "IAM_PERMISSION_DENIED" || info.GetMetadata()["permission"] != "run.services.get" || info.GetMetadata()["resource"] != resource {
		t.Errorf("details %v", s.Details())
	}
}
