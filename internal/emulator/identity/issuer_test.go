package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
)

const (
	person   = "dev@example.com"
	robot    = "app@demo.iam.gserviceaccount.com"
	audience = "https://hello-123456789012.us-central1.run.app"
)

// clock is a time that tests move.
type clock struct {
	mu    sync.Mutex
	t     time.Time // when it stands
	goes  bool
	ahead time.Duration // of the real time, when it goes
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goes {
		return time.Now().Add(c.ahead)
	}
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t, c.ahead = c.t.Add(d), c.ahead+d
}

// newIssuer has a clock that stands.
func newIssuer(t *testing.T) (*Issuer, *clock) {
	t.Helper()
	return issuerWith(t, &clock{t: time.Now()})
}

// newRealIssuer has a clock that goes, for what is signed by others, with the real time: making a key takes longer than
// clocks may differ, on a busy machine.
func newRealIssuer(t *testing.T) (*Issuer, *clock) {
	t.Helper()
	return issuerWith(t, &clock{goes: true})
}

func issuerWith(t *testing.T, c *clock) (*Issuer, *clock) {
	t.Helper()
	i, err := NewIssuer(c.now)
	if err != nil {
		t.Fatal(err)
	}
	return i, c
}

func idToken(t *testing.T, i *Issuer, email, audience string) string {
	t.Helper()
	token, err := i.IDToken(email, audience)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestIDToken(t *testing.T) {
	i, c := newIssuer(t)
	token := idToken(t, i, robot, audience)
	claims, err := i.VerifyID(token)
	if err != nil {
		t.Fatal(err)
	}
	now := c.now().Unix()
	want := Claims{
		Issuer: "https://accounts.google.com", Audience: audience, AuthorizedBy: claims.Subject, Subject: claims.Subject,
		Email: robot, EmailVerified: true, IssuedAt: now, Expires: now + 3600,
	}
	if claims != want {
		t.Errorf("claims %+v, want %+v", claims, want)
	}
	if len(claims.Subject) != 21 {
		t.Errorf("subject %q has %d digits, want 21", claims.Subject, len(claims.Subject))
	}
	if again, _ := i.VerifyID(idToken(t, i, strings.ToUpper(robot), "x")); again.Subject != claims.Subject {
		t.Error("subject depends on the case of the email")
	}
	user, err := i.VerifyID(idToken(t, i, person, GcloudClientID))
	if err != nil || user.AuthorizedBy != GcloudClientID || !UserAudience(user.Audience) {
		t.Errorf("user's token: %+v, %v", user, err)
	}
	if UserAudience(audience) {
		t.Error("a service's URL counts as a user's audience")
	}
}

func TestIDTokenExpires(t *testing.T) {
	i, c := newIssuer(t)
	token := idToken(t, i, robot, audience)
	c.add(time.Hour - time.Second)
	if _, err := i.VerifyID(token); err != nil {
		t.Errorf("refused a second early: %v", err)
	}
	c.add(time.Second)
	if _, err := i.VerifyID(token); !errors.Is(err, ErrExpired) {
		t.Errorf("after an hour: %v, want ErrExpired", err)
	}
	c.add(-2 * time.Hour)
	if _, err := i.VerifyID(token); err == nil || errors.Is(err, ErrExpired) {
		t.Errorf("before it was issued: %v", err)
	}
}

func TestForgedIDTokens(t *testing.T) {
	i, _ := newIssuer(t)
	genuine := idToken(t, i, robot, audience)
	parts := strings.Split(genuine, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	claims, err := json.Marshal(i.claims("owner@example.com", audience))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key *rsa.PrivateKey, id string, c Claims) string {
		token, err := signJWT(key, id, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	other := i.claims(robot, audience)
	other.Issuer = "https://evil.example"
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	signature[0] ^= 1
	for name, token := range map[string]string{
		"empty":             "",
		"two parts":         join(parts[0], parts[1]),
		"other claims":      join(parts[0], b64(claims), parts[2]),
		"other signature":   join(parts[0], parts[1], b64(signature)),
		"no signature":      join(parts[0], parts[1], ""),
		"removed signature": join(parts[0], parts[1], "SIGNATURE_REMOVED_BY_GOOGLE"),
		"none":              join(b64([]byte(`{"alg":"none"}`)), b64(claims), ""),
		"HS256":             join(b64([]byte(`{"alg":"HS256","kid":"`+i.keyID+`"}`)), b64(claims), parts[2]),
		"foreign key":       sign(foreign, keyID(&foreign.PublicKey), i.claims(robot, audience)),
		"foreign key, id":   sign(foreign, i.keyID, i.claims(robot, audience)),
		"other issuer":      sign(i.key, i.keyID, other),
		"line break":        genuine + "\n",
		"not JSON":          join(b64([]byte("x")), parts[1], parts[2]),
		"huge":              strings.Repeat("a", maxJWT) + ".b.c",
	} {
		if c, err := i.VerifyID(token); err == nil || c != (Claims{}) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestAccessToken(t *testing.T) {
	i, c := newIssuer(t)
	token, expires := i.AccessToken(person)
	if !strings.HasPrefix(token, "ya29.emulator") || strings.Contains(token, "example") {
		t.Errorf("token %q", token)
	}
	if got := expires.Sub(c.now()); got != time.Hour {
		t.Errorf("lifetime %v, want 1h", got)
	}
	if second, _ := i.AccessToken(person); second == token {
		t.Error("the same token twice")
	}
	if email, err := i.VerifyAccess(token); err != nil || email != person {
		t.Errorf("got %q, %v", email, err)
	}
	elsewhere, _ := newIssuer(t)
	refresh := i.sealed(refreshPrefix, person, time.Time{})
	for name, bad := range map[string]string{
		"empty":         "",
		"google's":      "ya29.a0AfH6SMB",
		"cut":           token[:len(token)-4],
		"line break":    token + "\n",
		"refresh token": accessPrefix + strings.TrimPrefix(refresh, refreshPrefix),
		"ID token":      idToken(t, i, person, audience),
	} {
		if email, err := i.VerifyAccess(bad); err == nil || email != "" {
			t.Errorf("%s: %q, %v", name, email, err)
		}
	}
	if _, err := elsewhere.VerifyAccess(token); err == nil {
		t.Error("another emulator's token accepted")
	}
	c.add(time.Hour)
	if _, err := i.VerifyAccess(token); !errors.Is(err, ErrExpired) {
		t.Errorf("after an hour: %v, want ErrExpired", err)
	}
}

// TestJWKS verifies our tokens with Google's own verifier.
func TestJWKS(t *testing.T) {
	i, _ := newIssuer(t)
	certs := httptest.NewServer(i.JWKS())
	defer certs.Close()
	v, err := idtoken.NewValidator(&idtoken.ValidatorOptions{Client: http.DefaultClient, RS256CertsURL: certs.URL})
	if err != nil {
		t.Fatal(err)
	}
	token := idToken(t, i, robot, audience)
	payload, err := v.Validate(t.Context(), token, audience)
	if err != nil {
		t.Fatal(err)
	}
	if payload.Claims["email"] != robot {
		t.Errorf("email %v, want %s", payload.Claims["email"], robot)
	}
	if _, err := v.Validate(t.Context(), token, "https://other.example"); err == nil {
		t.Error("accepted for another audience")
	}
}

func TestConcurrentUse(t *testing.T) {
	i, _ := newIssuer(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := i.ServiceAccountKey(robot, "http://localhost/token"); err != nil {
				t.Error(err)
			}
			token, _ := i.AccessToken(robot)
			if _, err := i.VerifyAccess(token); err != nil {
				t.Error(err)
			}
			if _, err := i.VerifyAccess("a.b.c"); err == nil {
				t.Error("a.b.c accepted")
			}
		})
	}
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	i, err := NewIssuer(nil)
	if err != nil {
		f.Fatal(err)
	}
	good, err := i.IDToken(robot, audience)
	if err != nil {
		f.Fatal(err)
	}
	access, _ := i.AccessToken(robot)
	f.Add(access)
	f.Add("e30.e30.")
	f.Add(good + "x")
	f.Fuzz(func(t *testing.T, token string) {
		if token == good || token == access {
			return
		}
		if c, err := i.VerifyID(token); err == nil {
			t.Errorf("forged ID token %q: %+v", token, c)
		}
		if email, err := i.VerifyAccess(token); err == nil {
			t.Errorf("forged access token %q: %s", token, email)
		}
	})
}
