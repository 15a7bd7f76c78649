package identity

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

const (
	grantJWT     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantRefresh = "refresh_token"
	maxBody      = 1 << 20
)

type tokenResponse struct {
	AccessToken string `json:"access_token,omitempty"`
	IDToken     string `json:"id_token,omitempty"`
	ExpiresIn   int    `json:"expires_in,omitempty"` // seconds
	TokenType   string `json:"token_type,omitempty"`
	Scope       string `json:"scope,omitempty"`
}

// oauthError is an error as RFC 6749 §5.2 has it.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

// TokenHandler is Google's OAuth 2.0 token endpoint, https://oauth2.googleapis.com/token,
// at whatever path it is mounted: the grants of a service account's key (RFC
// 7523, with Google's target_audience for an ID token) and of a person's refresh
// token, which also returns an ID token whose audience is the OAuth client.
func (i *Issuer) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		answer, err := i.grant(r)
		w.Header().Set("Cache-Control", "no-store")
		var refused *oauthError
		switch {
		case errors.As(err, &refused):
			writeJSON(w, http.StatusBadRequest, refused)
		case err != nil:
			writeJSON(w, http.StatusInternalServerError, &oauthError{"internal_failure", err.Error()})
		default:
			writeJSON(w, http.StatusOK, answer)
		}
	})
}

func (i *Issuer) grant(r *http.Request) (*tokenResponse, error) {
	if err := r.ParseForm(); err != nil {
		return nil, &oauthError{"invalid_request", "reading the form: " + err.Error()}
	}
	switch g := r.PostForm.Get("grant_type"); g {
	case grantJWT:
		return i.grantAssertion(r.PostForm.Get("assertion"))
	case grantRefresh:
		return i.grantUser(r.PostForm.Get("refresh_token"), r.PostForm.Get("client_id"))
	default:
		return nil, &oauthError{"unsupported_grant_type", "Invalid grant_type: " + g}
	}
}

func (i *Issuer) grantAssertion(token string) (*tokenResponse, error) {
	a, key, err := i.verifyAssertion(token)
	switch {
	case errors.Is(err, ErrExpired):
		return nil, &oauthError{"invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}
	case err != nil:
		return nil, &oauthError{"invalid_grant", "Invalid JWT: " + err.Error()}
	case a.Audience != key.tokenURL:
		return nil, &oauthError{"invalid_grant", "Invalid JWT: Failed audience check."}
	case a.TargetAudience != "":
		id, err := i.IDToken(key.email, a.TargetAudience)
		return &tokenResponse{IDToken: id}, err
	case a.Scope == "":
		return nil, &oauthError{"invalid_scope", "Invalid OAuth scope or ID token audience provided."}
	}
	return i.bearer(key.email, a.Scope), nil
}

func (i *Issuer) grantUser(refresh, clientID string) (*tokenResponse, error) {
	email, _, err := i.opened(refreshPrefix, refresh)
	if err != nil {
		return nil, &oauthError{"invalid_grant", "Bad Request"}
	}
	if !UserAudience(clientID) {
		return nil, &oauthError{"invalid_client", "The OAuth client was not found."}
	}
	answer := i.bearer(email, "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/cloud-platform")
	answer.IDToken, err = i.IDToken(email, clientID)
	return answer, err
}

func (i *Issuer) bearer(email, scope string) *tokenResponse {
	access, expires := i.AccessToken(email)
	return &tokenResponse{AccessToken: access, ExpiresIn: i.secondsTo(expires), TokenType: "Bearer", Scope: scope}
}

// secondsTo is one short of the whole, as Google's answers are, so that no holder
// thinks a token good that is not.
func (i *Issuer) secondsTo(expires time.Time) int {
	return max(int(expires.Sub(i.now())/time.Second)-1, 0)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	// The caller has gone when this fails; there is nobody left to tell.
	_, _ = w.Write(append(body, '\n'))
}
