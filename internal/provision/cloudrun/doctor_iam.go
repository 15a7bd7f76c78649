package cloudrun

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// permissionsFor are the permissions on the project that a twin takes, and what for.
func permissionsFor(kind provision.Kind) [][2]string {
	all := [][2]string{
		{"run.services.list", "finding services and twins"},
		{"run.services.get", "reading the service"},
		{"run.revisions.get", "reading the revision that runs"},
		{"run.services.create", "making the twin"},
		{"run.operations.get", "waiting for it"},
		{"run.routes.invoke", "entering it"},
		{"run.services.update", "renewing its lease"},
		{"run.services.delete", "deleting it"},
	}
	switch kind {
	case provision.KindJob:
		all = append(all, [2]string{"run.jobs.get", "reading the job"})
	case provision.KindWorkerPool:
		all = append(all, [2]string{"run.workerpools.get", "reading the worker pool"})
	}
	return all
}

// project looks whether there is such a project, and for its number.
func (e *examination) project(ctx context.Context) {
	const check = "project"
	var p struct {
		Number string `json:"projectNumber"`
		State  string `json:"lifecycleState"`
	}
	err := e.call(ctx, "cloudresourcemanager", http.MethodGet, "/v1/projects/"+e.Project, nil, &p)
	switch {
	case err != nil:
		e.unknown(check, e.Project+" cannot be read, and need not be", err)
	case p.State != "" && p.State != "ACTIVE":
		e.fail(check, fmt.Errorf("%s is %s", e.Project, p.State))
	default:
		e.number = p.Number
		e.good(check, fmt.Sprintf("%s, number %s", e.Project, p.Number))
	}
}

// enabled looks whether an API is switched on.
func (e *examination) enabled(ctx context.Context, api string) {
	check := "API " + api
	var s struct {
		State string `json:"state"`
	}
	err := e.call(ctx, "serviceusage", http.MethodGet, "/v1/projects/"+e.Project+"/services/"+api, nil, &s)
	switch {
	case err != nil:
		e.unknown(check, "its state cannot be read, and need not be", err)
	case s.State != "ENABLED":
		e.lacks(check, "it is not enabled", "roles/serviceusage.serviceUsageAdmin",
			"gcloud services enable "+api+" --project "+e.Project)
	default:
		e.good(check, "enabled")
	}
}

// permissions asks which of the permissions on the project the account has.
func (e *examination) permissions(ctx context.Context) {
	want := permissionsFor(e.req.Target.Kind)
	names := make([]string, 0, len(want))
	for _, p := range want {
		names = append(names, p[0])
	}
	held, err := e.test(ctx, "cloudresourcemanager", "/v1/projects/"+e.Project, names)
	if err != nil {
		e.unknown("permissions", "asking for the account's permissions", err)
		return
	}
	for _, p := range want {
		check := "permission " + p[0]
		if slices.Contains(held, p[0]) {
			e.good(check, p[1])
			continue
		}
		role := roleWith(p[0])
		e.lacks(check, "missing, for "+p[1], role, e.grant(member(e.Account), role))
	}
}

// errNoNumber: the name of a project's default service account begins with its number.
var errNoNumber = errors.New("the number of the project is not known")

// actAs asks whether the account may have something run as the twin's service account; "" is the project's default.
func (e *examination) actAs(ctx context.Context, account string) {
	const permission, role = "iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"
	check := "permission " + permission
	if account == "" && e.number == "" {
		e.unknown(check, "asking for the default service account", errNoNumber)
		return
	}
	account = cmp.Or(account, e.number+"-compute@developer.gserviceaccount.com")
	held, err := e.test(ctx, "iam", "/v1/projects/-/serviceAccounts/"+account, []string{permission})
	switch {
	case status.Code(err) == codes.NotFound:
		e.fail("service account", provision.Hint(fmt.Errorf("%s does not exist", account),
			"cloudssh ... --service-account ANOTHER", "gcloud iam service-accounts list --project "+e.Project))
	case err != nil:
		e.unknown(check, "asking for the account's permissions on "+account, err)
	case !slices.Contains(held, permission):
		e.lacks(check, "missing, on the twin's service account "+account, role,
			fmt.Sprintf("gcloud iam service-accounts add-iam-policy-binding %s --project %s --member %s --role %s",
				account, e.Project, member(e.Account), role))
	default:
		e.good(check, "on "+account)
	}
}

// test is testIamPermissions of a resource: which of the permissions the caller has.
func (e *examination) test(ctx context.Context, api, resource string, permissions []string) ([]string, error) {
	var held struct {
		Permissions []string `json:"permissions"`
	}
	question := map[string][]string{"permissions": permissions}
	err := e.call(ctx, api, http.MethodPost, resource+":testIamPermissions", question, &held)
	return held.Permissions, err
}

// call sends a request to one of Google's APIs, whose name is the first word of its host's.
func (b *Backend) call(ctx context.Context, api, method, path string, question, answer any) (err error) {
	base := "https://" + api + ".googleapis.com"
	if b.API != nil {
		base = b.API(api)
	}
	var body io.Reader
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return fmt.Errorf("writing the question: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return b.do(req, answer)
}
