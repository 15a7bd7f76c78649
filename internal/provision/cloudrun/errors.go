package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// platformError shows what the platform said without the words of gRPC around it.
type platformError struct {
	text string
	err  error
}

func (e *platformError) Error() string { return e.text }
func (e *platformError) Unwrap() error { return e.err }

// explain says what was being done when the platform answered with err, and what to try. permission is the one that the
// call needs, for answers that do not name it.
func (b *Backend) explain(err error, doing, permission string) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	wrapped := fmt.Errorf("%s: %w", doing, &platformError{text: text(st), err: err})
	switch st.Code() {
	case codes.Canceled: // gRPC's own error for it is none of the context's
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	case codes.Unauthenticated:
		return provision.Hint(wrapped, "gcloud auth login", "cloudssh demo   (needs no account)")
	case codes.PermissionDenied:
		if reason(st) == "SERVICE_DISABLED" {
			return provision.Hint(wrapped, "gcloud services enable run.googleapis.com --project "+b.Project)
		}
		return b.denied(wrapped, st, permission)
	}
	if hints := remedies(text(st), b.Project); len(hints) > 0 {
		return provision.Hint(wrapped, hints...)
	}
	return wrapped
}

// withCommand makes whole commands of those hints of an error that are flags alone: what looks at a revision does not know
// how the user names it.
func withCommand(err error, t provision.Target) error {
	for _, h := range provision.Hints(err) {
		if strings.HasPrefix(h, "--") {
			return &commandError{err, "cloudssh " + t.String() + " "}
		}
	}
	return err
}

type commandError struct {
	err     error
	command string
}

func (e *commandError) Error() string { return e.err.Error() }

// Is and As stand in for Unwrap: who gathers the hints of a tree would find those below, too.
func (e *commandError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *commandError) As(target any) bool   { return errors.As(e.err, target) }

// Hints are the error's, completed.
func (e *commandError) Hints() []string {
	hints := slices.Clone(provision.Hints(e.err))
	for i, h := range hints {
		if strings.HasPrefix(h, "--") {
			hints[i] = e.command + h
		}
	}
	return hints
}

// text is the status's message with the fields it complains about, which the message itself may leave out.
func text(st *status.Status) string {
	s := st.Message()
	if s == "" {
		s = st.Code().String()
	}
	for _, d := range st.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if !strings.Contains(s, v.GetDescription()) {
				s += fmt.Sprintf("\n  %s: %s", v.GetField(), v.GetDescription())
			}
		}
	}
	return s
}

func reason(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// denied names the permission, the least role of Cloud Run that has it, and the command that grants that.
func (b *Backend) denied(err error, st *status.Status, permission string) error {
	if named := permissionIn(st); named != "" {
		permission = named
	}
	member := member(b.Account)
	if strings.EqualFold(permission, "iam.serviceAccounts.actAs") {
		account := serviceAccountIn(st.Message())
		return provision.Hint(err,
			"missing permission iam.serviceAccounts.actAs on the twin's service account, in roles/iam.serviceAccountUser:",
			fmt.Sprintf("gcloud iam service-accounts add-iam-policy-binding %s --project %s --member %s --role roles/iam.serviceAccountUser",
				account, b.Project, member))
	}
	if permission == "" {
		return err
	}
	role := roleWith(permission)
	return provision.Hint(err, fmt.Sprintf("missing permission %s, in %s:", permission, role), b.grant(member, role))
}

func (b *Backend) grant(member, role string) string {
	return fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member %s --role %s", b.Project, member, role)
}

// roleWith is the role to ask for: the one that holds all that a twin needs.
func roleWith(permission string) string {
	switch {
	case strings.HasPrefix(permission, "artifactregistry.") && strings.Contains(permission, "upload"):
		return "roles/artifactregistry.writer"
	case strings.HasPrefix(permission, "artifactregistry."):
		return "roles/artifactregistry.reader"
	case strings.HasSuffix(permission, "setIamPolicy"):
		return "roles/run.admin"
	}
	return "roles/run.developer"
}

// permissionIn finds the permission in "Permission 'run.services.get' denied on resource ...", or in the details.
func permissionIn(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetMetadata()["permission"] != "" {
			return info.GetMetadata()["permission"]
		}
	}
	m := regexp.MustCompile(`[Pp]ermission '([A-Za-z]+\.[A-Za-z.]+)'`).FindStringSubmatch(st.Message())
	if m == nil {
		return ""
	}
	return m[1]
}

func serviceAccountIn(message string) string {
	if m := regexp.MustCompile(`[a-zA-Z0-9._-]+@[a-z0-9.-]*gserviceaccount\.com`).FindString(message); m != "" {
		return m
	}
	return "SERVICE_ACCOUNT"
}

// member is an account as IAM policies write it.
func member(account string) string {
	switch {
	case account == "":
		return "user:ACCOUNT"
	case strings.HasSuffix(account, "gserviceaccount.com"):
		return "serviceAccount:" + account
	}
	return "user:" + account
}
