package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/idtoken"
	"cloud.google.com/go/auth/credentials/impersonate"
)

const scope = "https://www.googleapis.com/auth/cloud-platform"

func tokenServer(t *testing.T, i *Issuer) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/token", i.TokenHandler())
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/token"
}

func robotKey(t *testing.T, i *Issuer, tokenURL string) []byte {
	t.Helper()
	key, err := i.ServiceAccountKey(robot, tokenURL)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestServiceAccountAccessToken(t *testing.T) {
	i, _ := newRealIssuer(t)
	creds, err := google.CredentialsFromJSONWithType(t.Context(), robotKey(t, i, tokenServer(t, i)), google.ServiceAccount, scope)
	if err != nil {
		t.Fatal(err)
	}
	if creds.ProjectID != "demo" {
		t.Errorf("project %q, want demo", creds.ProjectID)
	}
	token, err := creds.TokenSource.Token()
	if err != nil {
		t.Fatal(err)
	}
	if email, err := i.VerifyAccess(token.AccessToken); err != nil || email != robot {
		t.Errorf("token of %q, %v", email, err)
	}
	if left := time.Until(token.Expiry); left < 59*time.Minute || left > time.Hour {
		t.Errorf("token expires in %v, want just under an hour", left)
	}
}

func TestServiceAccountIDToken(t *testing.T) {
	i, _ := newRealIssuer(t)
	creds, err := idtoken.NewCredentialsFromJSON(credentials.ServiceAccount, robotKey(t, i, tokenServer(t, i)),
		&idtoken.Options{Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	token, err := creds.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := i.VerifyID(token.Value); err != nil || c.Email != robot || c.Audience != audience {
		t.Errorf("claims %+v, %v", c, err)
	}
}

// TestSelfSignedAccessToken is what Google's client libraries send to an API
// when they hold a key: a JWT, without asking the token endpoint.
func TestSelfSignedAccessToken(t *testing.T) {
	i, c := newRealIssuer(t)
	tokenURL := tokenServer(t, i)
	source, err := google.JWTAccessTokenSourceWithScope(robotKey(t, i, tokenURL), scope)
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	if email, err := i.VerifyAccess(token.AccessToken); err != nil || email != robot {
		t.Errorf("token of %q, %v", email, err)
	}
	c.add(2 * time.Hour)
	if _, err := i.VerifyAccess(token.AccessToken); !errors.Is(err, ErrExpired) {
		t.Errorf("after two hours: %v, want ErrExpired", err)
	}
}

func TestUserTokens(t *testing.T) {
	i, _ := newRealIssuer(t)
	adc, err := i.UserADC(person, tokenServer(t, i))
	if err != nil {
		t.Fatal(err)
	}
	creds, err := google.CredentialsFromJSONWithType(t.Context(), adc, google.AuthorizedUser, scope)
	if err != nil {
		t.Fatal(err)
	}
	token, err := creds.TokenSource.Token()
	if err != nil {
		t.Fatal(err)
	}
	if email, err := i.VerifyAccess(token.AccessToken); err != nil || email != person {
		t.Errorf("access token of %q, %v", email, err)
	}
	id, _ := token.Extra("id_token").(string)
	if c, err := i.VerifyID(id); err != nil || c.Email != person || c.Audience != ADCClientID {
		t.Errorf("ID token %+v, %v", c, err)
	}
}

// signedBy signs an assertion with the key of a key file.
func signedBy(t *testing.T, keyFile []byte, change func(a *assertion)) string {
	t.Helper()
	conf, err := google.JWTConfigFromJSON(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a := assertion{
		Issuer: conf.Email, Audience: conf.TokenURL, Scope: scope,
		IssuedAt: now.Unix(), Expires: now.Add(time.Hour).Unix(),
	}
	change(&a)
	token, err := signJWT(parseKey(t, conf.PrivateKey), conf.PrivateKeyID, a)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRefusedGrants(t *testing.T) {
	i, _ := newRealIssuer(t)
	tokenURL := tokenServer(t, i)
	key := robotKey(t, i, tokenURL)
	jwt := func(change func(a *assertion)) url.Values {
		return url.Values{"grant_type": {grantJWT}, "assertion": {signedBy(t, key, change)}}
	}
	elsewhere, _ := newIssuer(t)
	refresh := i.sealed(refreshPrefix, person, time.Time{})
	for name, test := range map[string]struct {
		form url.Values
		code string
	}{
		"no grant":       {url.Values{}, "unsupported_grant_type"},
		"password":       {url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
		"no assertion":   {url.Values{"grant_type": {grantJWT}}, "invalid_grant"},
		"expired":        {jwt(func(a *assertion) { a.IssuedAt -= 7200; a.Expires -= 7200 }), "invalid_grant"},
		"too long":       {jwt(func(a *assertion) { a.Expires += 3600 }), "invalid_grant"},
		"early":          {jwt(func(a *assertion) { a.IssuedAt += 600 }), "invalid_grant"},
		"other audience": {jwt(func(a *assertion) { a.Audience = "https://oauth2.example/token" }), "invalid_grant"},
		"other issuer":   {jwt(func(a *assertion) { a.Issuer = "owner@demo.iam.gserviceaccount.com" }), "invalid_grant"},
		"other subject":  {jwt(func(a *assertion) { a.Subject = person }), "invalid_grant"},
		"no scope":       {jwt(func(a *assertion) { a.Scope = "" }), "invalid_scope"},
		"unknown key": {url.Values{"grant_type": {grantJWT}, "assertion": {
			signedBy(t, robotKey(t, elsewhere, tokenURL), func(*assertion) {}),
		}}, "invalid_grant"},
		"bad refresh token": {url.Values{"grant_type": {grantRefresh}, "refresh_token": {"1//x"}, "client_id": {ADCClientID}}, "invalid_grant"},
		"bad client":        {url.Values{"grant_type": {grantRefresh}, "refresh_token": {refresh}, "client_id": {"x"}}, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := post(t, tokenURL, "", test.form.Encode())
			var answer oauthError
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatalf("body %q: %v", body, err)
			}
			if status != http.StatusBadRequest || answer.Code != test.code {
				t.Errorf("status %d, body %s, want 400 and %s", status, body, test.code)
			}
			if strings.Contains(string(body), "_token\":\"") {
				t.Errorf("a token in a refusal: %s", body)
			}
		})
	}
}

// TestRefusalReachesTheLibrary: the error is of the form that clients read.
func TestRefusalReachesTheLibrary(t *testing.T) {
	i, _ := newIssuer(t)
	conf := oauth2.Config{ClientID: ADCClientID, Endpoint: oauth2.Endpoint{TokenURL: tokenServer(t, i), AuthStyle: oauth2.AuthStyleInParams}}
	_, err := conf.TokenSource(t.Context(), &oauth2.Token{RefreshToken: "revoked"}).Token()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
		t.Errorf("got %v, want invalid_grant", err)
	}
}

func TestTokenHandlerMethod(t *testing.T) {
	i, _ := newIssuer(t)
	w := httptest.NewRecorder()
	i.TokenHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/token", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET answered %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

// post sends a form, or JSON with the bearer token when there is one.
func post(t *testing.T, url, bearer, body string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if bearer != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// rerouted sends every request to the server instead, with a bearer token: the
// impersonation library knows Google's host only.
type rerouted struct{ base, bearer string }

func (r rerouted) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := url.Parse(r.base)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = to.Scheme, to.Host
	req.Header.Set("Authorization", "Bearer "+r.bearer)
	return http.DefaultTransport.RoundTrip(req)
}

// credentialsServer lets only the person impersonate the robot.
func credentialsServer(t *testing.T, i *Issuer) string {
	t.Helper()
	policy := Bind([]string{Member(person)}, "roles/iam.serviceAccountTokenCreator")
	s := httptest.NewServer(i.CredentialsHandler(func(caller, permission, account string) bool {
		return account == robot && Allowed(caller, permission, policy)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestImpersonation(t *testing.T) {
	i, c := newRealIssuer(t)
	base := credentialsServer(t, i)
	access, _ := i.AccessToken(person)
	client := &http.Client{Transport: rerouted{base, access}}

	creds, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: robot, Scopes: []string{scope}, Lifetime: 10 * time.Minute, Client: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := creds.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if email, err := i.VerifyAccess(token.Value); err != nil || email != robot {
		t.Errorf("access token of %q, %v", email, err)
	}
	if left := token.Expiry.Sub(c.now()); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("access token expires in %v, want 10m", left)
	}

	idCreds, err := impersonate.NewIDTokenCredentials(&impersonate.IDTokenOptions{
		TargetPrincipal: robot, Audience: audience, IncludeEmail: true, Client: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err = idCreds.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if claims, err := i.VerifyID(token.Value); err != nil || claims.Email != robot || claims.Audience != audience {
		t.Errorf("ID token %+v, %v", claims, err)
	}
}

func TestRefusedImpersonation(t *testing.T) {
	i, _ := newIssuer(t)
	base := credentialsServer(t, i)
	may, _ := i.AccessToken(person)
	mayNot, _ := i.AccessToken("guest@example.com")
	const good = `{"scope":["` + scope + `"],"audience":"` + audience + `"}`
	for name, test := range map[string]struct {
		path, bearer, body string
		status             int
		text               string
	}{
		"anonymous":     {robot + ":generateAccessToken", "", good, 401, "UNAUTHENTICATED"},
		"bad token":     {robot + ":generateAccessToken", "ya29.x", good, 401, "UNAUTHENTICATED"},
		"guest":         {robot + ":generateAccessToken", mayNot, good, 403, "iam.serviceAccounts.getAccessToken"},
		"guest id":      {robot + ":generateIdToken", mayNot, good, 403, "iam.serviceAccounts.getOpenIdToken"},
		"other account": {"x@demo.iam.gserviceaccount.com:generateIdToken", may, good, 403, "IAM_PERMISSION_DENIED"},
		"unknown verb":  {robot + ":signJwt", may, good, 404, "NOT_FOUND"},
		"no account":    {":generateIdToken", may, good, 404, "NOT_FOUND"},
		"not JSON":      {robot + ":generateIdToken", may, "{", 400, "INVALID_ARGUMENT"},
		"no audience":   {robot + ":generateIdToken", may, "{}", 400, "audience"},
		"no scope":      {robot + ":generateAccessToken", may, "{}", 400, "scope"},
		"long":          {robot + ":generateAccessToken", may, `{"scope":["x"],"lifetime":"3601s"}`, 400, "3600 seconds"},
		"bad lifetime":  {robot + ":generateAccessToken", may, `{"scope":["x"],"lifetime":"soon"}`, 400, "lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := post(t, base+credentialsPath+test.path, test.bearer, test.body)
			if status != test.status || !bytes.Contains(body, []byte(test.text)) {
				t.Errorf("status %d, body %s, want %d and %q", status, body, test.status, test.text)
			}
		})
	}
}
