package transport

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// maxToken bounds the ID token that is looked into. Google's are about 1 KiB.
const maxToken = 16 << 10

// principalOf is the e-mail address in the ID token of a request, "" if there is
// none. Cloud Run's front door has verified the token, and removed its
// signature; it prefers X-Serverless-Authorization and so do we.
func principalOf(header http.Header) string {
	for _, name := range []string{"X-Serverless-Authorization", "Authorization"} {
		scheme, token, ok := strings.Cut(header.Get(name), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		return emailOf(strings.TrimSpace(token))
	}
	return ""
}

// emailOf reads a JWT's claims.
func emailOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Email string `json:"email"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Email
}
