package identity

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxJWT bounds what is parsed, in bytes; Google's tokens have about 1 KiB.
const maxJWT = 16 << 10

type jwtHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// signJWT returns claims as a JWT signed with RS256 (RFC 7515, RFC 7518 §3.3).
func signJWT(key *rsa.PrivateKey, keyID string, claims any) (string, error) {
	header, err := json.Marshal(jwtHeader{Algorithm: "RS256", KeyID: keyID, Type: "JWT"})
	if err != nil {
		return "", fmt.Errorf("encoding the header of a JWT: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims of a JWT: %w", err)
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return signed + "." + b64.EncodeToString(signature), nil
}

// verifyJWT checks that token was signed with RS256 by the key that find knows
// under the token's key id, and decodes its claims. It returns the key id.
// No other algorithm is ever looked at, so that a token cannot choose how it is
// checked.
func verifyJWT(token string, find func(keyID string) (*rsa.PublicKey, bool), claims any) (keyID string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxJWT {
		return "", errors.New("malformed JWT")
	}
	var header jwtHeader
	if err := decodePart(parts[0], &header); err != nil {
		return "", fmt.Errorf("reading the header of a JWT: %w", err)
	}
	if header.Algorithm != "RS256" {
		return "", fmt.Errorf("JWT algorithm %q is not RS256", header.Algorithm)
	}
	key, found := find(header.KeyID)
	if !found {
		return "", errors.New("JWT signed with an unknown key")
	}
	signature, err := decode64(parts[2])
	if err != nil {
		return "", errors.New("malformed JWT signature")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
		return "", errors.New("JWT signature does not match")
	}
	if err := decodePart(parts[1], claims); err != nil {
		return "", fmt.Errorf("reading the claims of a JWT: %w", err)
	}
	return header.KeyID, nil
}

func decodePart(part string, into any) error {
	raw, err := decode64(part)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(raw)).Decode(into)
}

// decode64 takes one spelling only of each value: encoding/base64 itself, even
// if strict, skips line breaks.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
