package provision_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// Names of services, every length several times, some with hyphens where they hurt.
func names() []string {
	const first, rest = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz0123456789-"
	r := rand.New(rand.NewPCG(1, 2)) // reproducible
	var all []string
	for n := 1; n <= provision.MaxName; n++ {
		for range 50 {
			b := []byte{first[r.IntN(len(first))]}
			for len(b) < n {
				b = append(b, rest[r.IntN(len(rest))])
			}
			if b[n-1] == '-' {
				b[n-1] = '0'
			}
			all = append(all, string(b))
		}
		all = append(all, "a"+strings.Repeat("-", max(0, n-2))+"b")
	}
	return all
}

func TestTwinNamesAreValidAndApart(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$`)
	seen := map[string]string{}
	o := provision.Owner{Account: "a@example.com", PublicKey: "ssh-ed25519 AAAA"}
	for _, service := range names() {
		if err := provision.CheckName(service); err != nil && len(service) > 1 {
			t.Fatalf("%q: %v", service, err)
		}
		for _, twin := range []string{
			provision.TwinName(service), provision.AlternateName(service, o, 1), provision.AlternateName(service, o, 2),
		} {
			if !valid.MatchString(twin) {
				t.Errorf("%q gives %q", service, twin)
			}
			if other, ok := seen[twin]; ok && other != service {
				t.Errorf("%q and %q both give %q", service, other, twin)
			}
			seen[twin] = service
		}
		if len(service) <= 45 && provision.TwinName(service) != service+"-ssh" {
			t.Errorf("%q gives %q", service, provision.TwinName(service))
		}
	}
}

func TestAlternateNames(t *testing.T) {
	a := provision.Owner{Account: "a@example.com", PublicKey: "k"}
	b := provision.Owner{Account: "b@example.com", PublicKey: "k"}
	first := provision.AlternateName("app", a, 1)
	if !regexp.MustCompile(`^app-ssh-[0-9a-f]{4}$`).MatchString(first) {
		t.Errorf("name %q", first)
	}
	if first != provision.AlternateName("app", a, 1) {
		t.Error("not the same twice")
	}
	if first == provision.AlternateName("app", b, 1) || first == provision.AlternateName("app", a, 2) {
		t.Error("another owner or number gives the same name")
	}
}

func TestCheckName(t *testing.T) {
	for name, text := range map[string]string{
		"":                                "no service named",
		strings.Repeat("a", 50):           "has 50 characters; Cloud Run allows 49",
		"Hello":                           "not valid",
		"1a":                              "not valid",
		"a-":                              "not valid",
		"a_b":                             "not valid",
		"projects/p/locations/r/services": "not valid",
	} {
		if err := provision.CheckName(name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := provision.CheckName(strings.Repeat("a", 49)); err != nil {
		t.Error(err)
	}
}

func TestOwnerHash(t *testing.T) {
	h := provision.OwnerHash("Ann@Example.com ")
	if h != provision.OwnerHash("ann@example.com") || h == provision.OwnerHash("bob@example.com") {
		t.Error("not a hash of the account")
	}
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(h) {
		t.Errorf("no label value: %q", h)
	}
}
