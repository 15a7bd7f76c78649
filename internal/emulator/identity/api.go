// Package identity decides who may do what in the emulator: tokens, roles, and
// the metadata, OAuth and IAM credentials servers that hand tokens out.
package identity

import (
	"net/http"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
)

// Issuer makes and verifies the tokens of one emulator. It is safe for concurrent use.
type Issuer struct{}

// NewIssuer returns an issuer with a fresh RSA key. now may be nil: time.Now.
func NewIssuer(now func() time.Time) (*Issuer, error) { return nil, nil }

// Claims is what an ID token says.
type Claims struct {
	Issuer        string `json:"iss"`
	Audience      string `json:"aud"`
	AuthorizedBy  string `json:"azp"`
	Subject       string `json:"sub"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	IssuedAt      int64  `json:"iat"`
	Expires       int64  `json:"exp"`
}

// IDToken returns a signed Google-style ID token of one hour.
func (i *Issuer) IDToken(email, audience string) (string, error) { return "", nil }

// AccessToken returns an opaque access token and when it expires.
func (i *Issuer) AccessToken(email string) (string, time.Time) { return "", time.Time{} }

// VerifyID checks signature, issuer and expiry; the caller checks the audience.
func (i *Issuer) VerifyID(token string) (Claims, error) { return Claims{}, nil }

// VerifyAccess returns the email that an access token stands for.
func (i *Issuer) VerifyAccess(token string) (email string, err error) { return "", nil }

// JWKS serves the public key as https://www.googleapis.com/oauth2/v3/certs does.
func (i *Issuer) JWKS() http.Handler { return nil }

// ServiceAccountKey makes a key file (JSON) for email and registers its public half.
func (i *Issuer) ServiceAccountKey(email, tokenURL string) ([]byte, error) { return nil, nil }

// UserADC makes an authorized_user file (JSON) for email and registers its refresh token.
func (i *Issuer) UserADC(email string) ([]byte, error) { return nil, nil }

// TokenHandler is the OAuth2 token endpoint: POST /token.
func (i *Issuer) TokenHandler() http.Handler { return nil }

// CredentialsHandler is the IAM credentials API: POST
// /v1/projects/-/serviceAccounts/{email}:generateAccessToken and :generateIdToken.
// allowed tells whether the caller has the permission on the service account.
func (i *Issuer) CredentialsHandler(allowed func(caller, permission, serviceAccount string) bool) http.Handler {
	return nil
}

// MetadataConfig is what a metadata server knows.
type MetadataConfig struct {
	Issuer         *Issuer
	Project        string
	ProjectNumber  string
	Region         string // e.g. us-central1
	InstanceID     string // opaque; hex on Cloud Run
	ServiceAccount string // email of the identity; empty = none
}

// MetadataHandler is the metadata server, for the client's listener and for an
// instance's 169.254.169.254 alike.
func MetadataHandler(cfg MetadataConfig) http.Handler { return nil }

// Allowed tells whether the principal (an email; empty = anonymous) has the
// permission through any binding of the policies. Conditional bindings grant nothing.
func Allowed(email, permission string, policies ...*iampb.Policy) bool { return false }

// CheckPolicy refuses a policy that SetIamPolicy would not accept.
func CheckPolicy(p *iampb.Policy) error { return nil }

// Member is the policy member of an email: user:... or serviceAccount:...
func Member(email string) string { return "" }

// PermissionDenied is the platform's PERMISSION_DENIED, naming the permission and the resource.
func PermissionDenied(permission, resource string) error { return nil }
