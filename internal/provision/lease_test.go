package provision_test

import (
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloudssh/cloudssh/internal/provision"
)

func TestLeaseRoundTrip(t *testing.T) {
	full := provision.Lease{
		OwnerHash: provision.OwnerHash("a@example.com"), Account: "a@example.com", Reason: "look at the cache, please",
		Expires: time.Unix(1790000000, 0), Keep: true, Key: "SHA256:abc", Version: "v1.0.0", Spec: "0123", Maker: "ff",
	}
	for name, l := range map[string]provision.Lease{
		"full": full,
		"bare": {OwnerHash: provision.OwnerHash(""), Expires: time.Unix(1790000000, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{"app", "job:app", "worker-pool:app"} {
				source, got, ok := provision.ParseLease(l.Labels(target), l.Annotations())
				if !ok || source != target {
					t.Errorf("source %q, %v, want %q", source, ok, target)
				}
				if diff := cmp.Diff(l, got); diff != "" {
					t.Error(diff)
				}
			}
			valid := regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
			for k, v := range l.Labels("worker-pool:app") {
				if !valid.MatchString(k) || !valid.MatchString(v) || !provision.IsLeaseLabel(k) {
					t.Errorf("label %s=%s", k, v)
				}
			}
			for k, v := range l.Annotations() {
				if v == "" {
					t.Errorf("empty annotation %s", k)
				}
			}
		})
	}
}

func TestLeaseOfOthers(t *testing.T) {
	if _, _, ok := provision.ParseLease(map[string]string{"cloudssh": "yes"}, nil); ok {
		t.Error("took a stranger for a twin")
	}
	_, l, ok := provision.ParseLease(map[string]string{"cloudssh": "twin", "cloudssh-expires": "soon"}, nil)
	if !ok || !l.Expired(time.Unix(0, 0)) {
		t.Errorf("a twin without a readable expiry does not expire: %+v", l)
	}
}

func TestExpired(t *testing.T) {
	l := provision.Lease{Expires: time.Unix(100, 0)}
	if l.Expired(time.Unix(99, 0)) || !l.Expired(time.Unix(100, 0)) {
		t.Error("a lease ends at its expiry")
	}
}

func TestHints(t *testing.T) {
	inner := errors.Join(errors.New("plain"), provision.Hint(errors.New("x"), "one"), provision.Hint(errors.New("y"), "two", "one"))
	err := provision.Hint(inner, "zero")
	if got := provision.Hints(err); !slices.Equal(got, []string{"zero", "one", "two"}) {
		t.Errorf("hints %q", got)
	}
	if err.Error() != "plain\nx\ny" {
		t.Errorf("text %q", err.Error())
	}
	if provision.Hint(nil, "x") != nil || provision.Hints(nil) != nil {
		t.Error("hints for nothing")
	}
}
