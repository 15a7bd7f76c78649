package identity

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/iam/apiv1/iampb"
)

const (
	everyone      = "allUsers"
	authenticated = "allAuthenticatedUsers"
)

// Allowed tells whether email has the permission through any binding of the
// policies: the resource's own and those it inherits. No email means an
// anonymous caller, who has only what allUsers has. Conditional bindings grant
// nothing, since a condition that is not evaluated must not be taken as met.
func Allowed(email, permission string, policies ...*iampb.Policy) bool {
	for _, p := range policies {
		for _, b := range p.GetBindings() {
			if b.GetCondition() == nil && grants(b.GetRole(), permission) &&
				slices.ContainsFunc(b.GetMembers(), func(m string) bool { return matches(m, email) }) {
				return true
			}
		}
	}
	return false
}

func matches(member, email string) bool {
	switch {
	case member == everyone:
		return true
	case email == "":
		return false
	case member == authenticated:
		return true
	}
	if domain, found := strings.CutPrefix(member, "domain:"); found {
		_, of, _ := strings.Cut(email, "@")
		return strings.EqualFold(domain, of) && !serviceAccount(email)
	}
	return strings.EqualFold(member, Member(email))
}

// Member is how a policy names an email: user:... or serviceAccount:...
func Member(email string) string {
	if serviceAccount(email) {
		return "serviceAccount:" + email
	}
	return "user:" + email
}

// Bind returns a policy that gives each member every one of the roles.
func Bind(members []string, roles ...string) *iampb.Policy {
	p := &iampb.Policy{Version: 1}
	for _, role := range roles {
		p.Bindings = append(p.Bindings, &iampb.Binding{Role: role, Members: slices.Clone(members)})
	}
	return p
}

// CheckPolicy refuses, as InvalidArgument, a policy that SetIamPolicy does not
// accept: an unknown form of role or member, or a condition below version 3.
func CheckPolicy(p *iampb.Policy) error {
	if v := p.GetVersion(); v != 0 && v != 1 && v != 3 {
		return status.Errorf(codes.InvalidArgument, "Invalid policy version %d; it must be 0, 1 or 3.", v)
	}
	for _, b := range p.GetBindings() {
		if !validRole(b.GetRole()) {
			return status.Errorf(codes.InvalidArgument, "Role name %s must be in the format \"roles/<role>\", or in the format \"projects/<project_id>/roles/<role>\"", b.GetRole())
		}
		if b.GetCondition() != nil && p.GetVersion() < 3 {
			return status.Error(codes.InvalidArgument, "Conditional bindings need policy version 3.")
		}
		for _, m := range b.GetMembers() {
			if !validMember(m) {
				return status.Errorf(codes.InvalidArgument, "Invalid member: %s. Members must be of the form \"<type>:<value>\".", m)
			}
		}
	}
	return nil
}

func validRole(role string) bool {
	parts := strings.Split(role, "/")
	switch len(parts) {
	case 2:
		return parts[0] == "roles" && parts[1] != ""
	case 4:
		return (parts[0] == "projects" || parts[0] == "organizations") && parts[2] == "roles" && parts[1] != "" && parts[3] != ""
	}
	return false
}

func validMember(m string) bool {
	if m == everyone || m == authenticated {
		return true
	}
	kind, value, _ := strings.Cut(m, ":")
	switch kind {
	case "user", "serviceAccount", "group":
		return strings.Contains(value, "@")
	case "domain", "deleted", "principal", "principalSet", "projectOwner", "projectEditor", "projectViewer":
		return value != ""
	}
	return false
}

// PermissionDenied is the platform's answer to a caller who lacks the permission
// on the resource. It names both in an ErrorInfo detail too.
func PermissionDenied(permission, resource string) error {
	s := status.Newf(codes.PermissionDenied, "Permission '%s' denied on resource '%s' (or resource may not exist).", permission, resource)
	full, err := s.WithDetails(&errdetails.ErrorInfo{
		Reason: "IAM_PERMISSION_DENIED", Domain: "iam.googleapis.com",
		Metadata: map[string]string{"permission": permission, "resource": resource},
	})
	if err != nil {
		return s.Err()
	}
	return full.Err()
}
