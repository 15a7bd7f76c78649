package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// accountKey is the half of a service account key that Google keeps.
type accountKey struct {
	email    string
	tokenURL string
	public   *rsa.PublicKey
}

// ServiceAccountKey makes a key file (JSON, as `gcloud iam service-accounts keys
// create` writes it) for email, and registers its public half. tokenURL is where
// TokenHandler is served.
func (i *Issuer) ServiceAccountKey(email, tokenURL string) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generating a key of %s: %w", email, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key of %s: %w", email, err)
	}
	id := keyID(&key.PublicKey)
	i.mu.Lock()
	i.keys[id] = accountKey{email: email, tokenURL: tokenURL, public: &key.PublicKey}
	i.mu.Unlock()
	return json.MarshalIndent(map[string]string{
		"type":            "service_account",
		"project_id":      projectOf(email),
		"private_key_id":  id,
		"private_key":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":    email,
		"client_id":       subject(email),
		"token_uri":       tokenURL,
		"universe_domain": "googleapis.com",
	}, "", "  ")
}

// UserADC makes an application default credentials file (JSON, type
// authorized_user, as `gcloud auth application-default login` writes it) for a
// person. tokenURL is where TokenHandler is served; Google's own files do not
// have it, but golang.org/x/oauth2/google reads it.
func (i *Issuer) UserADC(email, tokenURL string) ([]byte, error) {
	return json.MarshalIndent(map[string]string{
		"type":            "authorized_user",
		"account":         email,
		"client_id":       ADCClientID,
		"client_secret":   "emulator",
		"refresh_token":   i.sealed(refreshPrefix, email, time.Time{}),
		"token_uri":       tokenURL,
		"universe_domain": "googleapis.com",
	}, "", "  ")
}

// projectOf is P in name@P.iam.gserviceaccount.com, else "".
func projectOf(email string) string {
	_, domain, _ := strings.Cut(email, "@")
	project, found := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	if !found {
		return ""
	}
	return project
}

// assertion is what a service account says in a JWT that it signed itself.
type assertion struct {
	Issuer         string `json:"iss"`
	Subject        string `json:"sub"`
	Audience       string `json:"aud"`
	Scope          string `json:"scope"`
	TargetAudience string `json:"target_audience"`
	IssuedAt       int64  `json:"iat"`
	Expires        int64  `json:"exp"`
}

func (i *Issuer) accountKey(id string) (*rsa.PublicKey, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	k, found := i.keys[id]
	return k.public, found
}

// verifyAssertion checks signature, issuer and times; what the audience must be
// depends on the use.
func (i *Issuer) verifyAssertion(token string) (assertion, accountKey, error) {
	var a assertion
	id, err := verifyJWT(token, i.accountKey, &a)
	if err != nil {
		return assertion{}, accountKey{}, err
	}
	i.mu.RLock()
	key := i.keys[id]
	i.mu.RUnlock()
	if !strings.EqualFold(a.Issuer, key.email) {
		return assertion{}, accountKey{}, fmt.Errorf("issuer %q does not own the key", a.Issuer)
	}
	if a.Subject != "" && a.Subject != a.Issuer {
		return assertion{}, accountKey{}, errors.New("acting for another subject needs domain-wide delegation")
	}
	now, issued, expires := i.now(), time.Unix(a.IssuedAt, 0), time.Unix(a.Expires, 0)
	switch {
	case !now.Before(expires):
		return assertion{}, accountKey{}, ErrExpired
	case issued.After(now.Add(skew)), expires.Sub(issued) > tokenLifetime+skew:
		return assertion{}, accountKey{}, errors.New("token must be a short-lived token (60 minutes) and in a reasonable timeframe")
	}
	return a, key, nil
}

func (i *Issuer) verifySelfSigned(token string) (string, error) {
	a, key, err := i.verifyAssertion(token)
	if err != nil {
		return "", fmt.Errorf("verifying a self-signed access token: %w", err)
	}
	if a.Audience == key.tokenURL {
		return "", errors.New("verifying a self-signed access token: it is meant for the token endpoint")
	}
	return key.email, nil
}
