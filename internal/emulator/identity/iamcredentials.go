package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What the IAM Credentials API asks of its caller, on the service account.
const (
	permissionAccessToken = "iam.serviceAccounts.getAccessToken" //nolint:gosec // a permission's name
	permissionIDToken     = "iam.serviceAccounts.getOpenIdToken" //nolint:gosec // a permission's name
)

const credentialsPath = "/v1/projects/-/serviceAccounts/"

// CredentialsHandler is the IAM Credentials API, https://iamcredentials.googleapis.com:
// POST /v1/projects/-/serviceAccounts/{email}:generateAccessToken and
// :generateIdToken. allowed tells whether the caller, an email, has the
// permission on the service account; roles/iam.serviceAccountTokenCreator has both.
func (i *Issuer) CredentialsHandler(allowed func(caller, permission, serviceAccount string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := i.generate(w, r, allowed)
		if err != nil {
			writeStatus(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func (i *Issuer) generate(w http.ResponseWriter, r *http.Request, allowed func(string, string, string) bool) (any, error) {
	rest, found := strings.CutPrefix(r.URL.Path, credentialsPath)
	account, verb, _ := strings.Cut(rest, ":")
	if !found || account == "" || r.Method != http.MethodPost {
		return nil, status.Error(codes.NotFound, "Method not found.")
	}
	permission, answer := "", (func(string, *generateRequest) (any, error))(nil)
	switch verb {
	case "generateAccessToken":
		permission, answer = permissionAccessToken, i.generateAccessToken
	case "generateIdToken":
		permission, answer = permissionIDToken, i.generateIDToken
	default:
		return nil, status.Error(codes.NotFound, "Method not found.")
	}
	caller, err := i.bearerOf(r)
	if err != nil {
		return nil, err
	}
	if !allowed(caller, permission, account) {
		return nil, PermissionDenied(permission, "projects/-/serviceAccounts/"+account)
	}
	var req generateRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "Invalid JSON payload received. %v", err)
	}
	return answer(account, &req)
}

// generateRequest has the fields of both requests.
type generateRequest struct {
	Scope    []string        `json:"scope"`
	Lifetime json.RawMessage `json:"lifetime"` // a duration in protobuf's JSON form, "3600s"
	Audience string          `json:"audience"`
}

func (i *Issuer) bearerOf(r *http.Request) (string, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return "", status.Error(codes.Unauthenticated, "Request is missing required authentication credential. Expected OAuth 2 access token.")
	}
	caller, err := i.VerifyAccess(token)
	if err != nil {
		return "", status.Error(codes.Unauthenticated, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
	}
	return caller, nil
}

func (i *Issuer) generateAccessToken(account string, req *generateRequest) (any, error) {
	if len(req.Scope) == 0 {
		return nil, status.Error(codes.InvalidArgument, "Request contains an invalid argument: scope should be non-empty.")
	}
	lifetime, err := req.lifetime()
	if err != nil {
		return nil, err
	}
	expires := i.now().Add(lifetime)
	return struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
	}{i.sealed(accessPrefix, account, expires), expires.UTC().Truncate(time.Second)}, nil
}

func (r *generateRequest) lifetime() (time.Duration, error) {
	if len(r.Lifetime) == 0 {
		return tokenLifetime, nil
	}
	var d durationpb.Duration
	if err := protojson.Unmarshal(r.Lifetime, &d); err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "Invalid value at 'lifetime': %v", err)
	}
	if d.AsDuration() <= 0 || d.AsDuration() > tokenLifetime {
		return 0, status.Errorf(codes.InvalidArgument, "The access token lifetime cannot exceed %d seconds.", int(tokenLifetime.Seconds()))
	}
	return d.AsDuration(), nil
}

func (i *Issuer) generateIDToken(account string, req *generateRequest) (any, error) {
	if req.Audience == "" {
		return nil, status.Error(codes.InvalidArgument, "Request contains an invalid argument: audience should be non-empty.")
	}
	token, err := i.IDToken(account, req.Audience)
	if err != nil {
		return nil, fmt.Errorf("generating an ID token of %s: %w", account, err)
	}
	return struct {
		Token string `json:"token"`
	}{token}, nil
}

// httpCode is the HTTP form of the codes that this package uses
// (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
func httpCode(code codes.Code) (status int, name string) {
	switch code {
	case codes.InvalidArgument:
		return http.StatusBadRequest, "INVALID_ARGUMENT"
	case codes.Unauthenticated:
		return http.StatusUnauthorized, "UNAUTHENTICATED"
	case codes.PermissionDenied:
		return http.StatusForbidden, "PERMISSION_DENIED"
	case codes.NotFound:
		return http.StatusNotFound, "NOT_FOUND"
	default:
		return http.StatusInternalServerError, "INTERNAL"
	}
}

// writeStatus answers as Google's REST APIs do (https://google.aip.dev/193).
func writeStatus(w http.ResponseWriter, err error) {
	type body struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Status  string            `json:"status"`
		Details []json.RawMessage `json:"details,omitempty"`
	}
	s := status.Convert(err)
	b := body{Message: s.Message()}
	b.Code, b.Status = httpCode(s.Code())
	for _, d := range s.Proto().GetDetails() {
		raw, encodeErr := protojson.Marshal(d)
		if encodeErr != nil {
			b.Message = errors.Join(err, encodeErr).Error()
			continue
		}
		b.Details = append(b.Details, raw)
	}
	writeJSON(w, b.Code, struct {
		Error body `json:"error"`
	}{b})
}
