// Package identity decides who may do what in the emulator. It makes and
// verifies Google-style ID and access tokens, holds the roles and what they
// permit, and serves what hands tokens out in Google Cloud: the metadata server,
// the OAuth 2.0 token endpoint and the IAM Credentials API.
//
// # Differences from the platform
//
// What Google does and this package does otherwise:
//
//   - Every ID token carries its holder's email, as nothing here could look a bare
//     subject up.
//   - Groups, deleted members, federated principals, projectOwner, projectEditor
//     and projectViewer, and conditional bindings grant nothing.
//   - These roles are known: owner, editor, viewer, browser; run.admin,
//     run.developer, run.sourceDeveloper, run.viewer, run.invoker,
//     run.servicesInvoker, run.jobsExecutor; artifactregistry.reader, .writer,
//     .repoAdmin, .admin; iam.serviceAccountUser, iam.serviceAccountTokenCreator,
//     iam.serviceAccountOpenIdTokenCreator; logging.viewer;
//     secretmanager.secretAccessor, secretmanager.viewer;
//     serviceusage.serviceUsageViewer, serviceusage.serviceUsageConsumer,
//     serviceusage.serviceUsageAdmin; orgpolicy.policyViewer. Any other, custom
//     roles too, can be bound and grants nothing.
//   - Scopes of access tokens are not enforced.
package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// googleIssuer is what Google's ID tokens name as their issuer.
	googleIssuer  = "https://accounts.google.com"
	tokenLifetime = time.Hour
	// skew is how far a caller's clock may be off.
	skew    = 10 * time.Second
	keyBits = 2048
)

// Google's own OAuth clients, which `gcloud auth login` and `gcloud auth
// application-default login` use. A user's ID token has one of them as its
// audience, and Cloud Run accepts that.
const (
	GcloudClientID = "32555940559.apps.googleusercontent.com"
	ADCClientID    = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com" //nolint:gosec // public: a client id, not its secret
)

// UserAudience tells whether aud is that of a user's ID token by gcloud, which
// is good for every Cloud Run service.
func UserAudience(aud string) bool { return aud == GcloudClientID || aud == ADCClientID }

// ErrExpired is wrapped by the errors about tokens that were once good.
var ErrExpired = errors.New("token expired")

// Issuer makes and verifies the tokens of one emulator. It is safe for
// concurrent use. Access and refresh tokens are sealed rather than remembered,
// so that a long run does not grow it.
type Issuer struct {
	now   func() time.Time
	key   *rsa.PrivateKey
	keyID string
	seal  cipher.AEAD

	mu   sync.RWMutex
	keys map[string]accountKey // service account keys by key id
}

// NewIssuer returns an issuer with a fresh RSA key. now may be nil: time.Now.
func NewIssuer(now func() time.Time) (*Issuer, error) {
	if now == nil {
		now = time.Now
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generating the emulator's signing key: %w", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails since Go 1.24
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("setting up the sealing of access tokens: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("setting up the sealing of access tokens: %w", err)
	}
	return &Issuer{now: now, key: key, keyID: keyID(&key.PublicKey), seal: seal, keys: map[string]accountKey{}}, nil
}

// keyID is a name for a key that says nothing else, 40 hex digits like Google's.
func keyID(key *rsa.PublicKey) string {
	sum := sha256.Sum256(key.N.Bytes())
	return fmt.Sprintf("%x", sum[:20])
}

// Claims is what an ID token says. Times are Unix seconds.
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

// IDToken returns an ID token of email for audience, signed with RS256 and good
// for an hour, such as Google's token endpoints return.
func (i *Issuer) IDToken(email, audience string) (string, error) {
	return i.sign(i.claims(email, audience))
}

func (i *Issuer) claims(email, audience string) Claims {
	now := i.now()
	c := Claims{
		Issuer: googleIssuer, Audience: audience, AuthorizedBy: audience,
		Subject: subject(email), Email: email, EmailVerified: true,
		IssuedAt: now.Unix(), Expires: now.Add(tokenLifetime).Unix(),
	}
	if serviceAccount(email) {
		c.AuthorizedBy = c.Subject
	}
	return c
}

func (i *Issuer) sign(claims any) (string, error) {
	return signJWT(i.key, i.keyID, claims)
}

// subject is a stable number for an account, 21 digits as Google's are.
func subject(email string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(email)))
	n := new(big.Int).SetBytes(sum[:])
	n.Mod(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(20), nil))
	return fmt.Sprintf("1%020d", n)
}

// VerifyID checks an ID token's signature, issuer and expiry, the latter with
// ErrExpired. The audience is the caller's to check.
func (i *Issuer) VerifyID(token string) (Claims, error) {
	var c Claims
	if _, err := verifyJWT(token, i.publicKey, &c); err != nil {
		return Claims{}, fmt.Errorf("verifying an ID token: %w", err)
	}
	if c.Issuer != googleIssuer {
		return Claims{}, fmt.Errorf("verifying an ID token: issuer %q is not %s", c.Issuer, googleIssuer)
	}
	now := i.now()
	if !now.Before(time.Unix(c.Expires, 0)) {
		return Claims{}, fmt.Errorf("verifying an ID token: %w at %s", ErrExpired, time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	}
	if now.Add(skew).Before(time.Unix(c.IssuedAt, 0)) {
		return Claims{}, errors.New("verifying an ID token: issued in the future")
	}
	return c, nil
}

func (i *Issuer) publicKey(id string) (*rsa.PublicKey, bool) {
	return &i.key.PublicKey, id == i.keyID
}

// Prefixes of the sealed tokens. They are sealed in too, so that one kind cannot
// pass for the other.
const (
	accessPrefix  = "ya29.emulator." //nolint:gosec // how a token begins
	refreshPrefix = "1//emulator."
)

// AccessToken returns an access token of email, opaque and good for an hour, and
// when it expires.
func (i *Issuer) AccessToken(email string) (string, time.Time) {
	expires := i.now().Add(tokenLifetime)
	return i.sealed(accessPrefix, email, expires), expires
}

func (i *Issuer) sealed(prefix, email string, expires time.Time) string {
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	sealed := i.seal.Seal(nil, nil, append(plain, email...), []byte(prefix)) //nolint:gosec // it makes its own nonce
	return prefix + base64.RawURLEncoding.EncodeToString(sealed)
}

// opened returns whose token it is and when it expires.
func (i *Issuer) opened(prefix, token string) (email string, expires time.Time, err error) {
	body, found := strings.CutPrefix(token, prefix)
	if !found {
		return "", time.Time{}, errors.New("not a token of this emulator")
	}
	sealed, err := decode64(body)
	if err != nil {
		return "", time.Time{}, errors.New("not a token of this emulator")
	}
	plain, err := i.seal.Open(nil, nil, sealed, []byte(prefix))
	if err != nil || len(plain) < 8 {
		return "", time.Time{}, errors.New("not a token of this emulator")
	}
	seconds := int64(binary.BigEndian.Uint64(plain))
	return string(plain[8:]), time.Unix(seconds, 0), nil
}

// VerifyAccess returns the email that an access token stands for: one of
// AccessToken's, or a JWT that a service account signed itself with a key of
// ServiceAccountKey, which Google's APIs accept too and its client libraries
// prefer (https://google.aip.dev/auth/4111).
func (i *Issuer) VerifyAccess(token string) (email string, err error) {
	if strings.Count(token, ".") == 2 && !strings.HasPrefix(token, accessPrefix) {
		return i.verifySelfSigned(token)
	}
	email, expires, err := i.opened(accessPrefix, token)
	if err != nil {
		return "", fmt.Errorf("verifying an access token: %w", err)
	}
	if !i.now().Before(expires) {
		return "", fmt.Errorf("verifying an access token: %w at %s", ErrExpired, expires.UTC().Format(time.RFC3339))
	}
	return email, nil
}

// JWKS serves the public key in the form of https://www.googleapis.com/oauth2/v3/certs.
func (i *Issuer) JWKS() http.Handler {
	type jwk struct {
		Type      string `json:"kty"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
		Modulus   string `json:"n"`
		Exponent  string `json:"e"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{{
		Type: "RSA", Use: "sig", Algorithm: "RS256", ID: i.keyID,
		Modulus:  base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()),
		Exponent: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes()),
	}}}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		writeJSON(w, http.StatusOK, set)
	})
}

// serviceAccount tells a service account's email from a person's.
func serviceAccount(email string) bool {
	return strings.HasSuffix(strings.ToLower(email), ".gserviceaccount.com")
}
