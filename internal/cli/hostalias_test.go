package cli

import (
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	for _, c := range []struct {
		host, prefix string
		want         hostAlias
	}{
		{"hello", "", hostAlias{service: "hello"}},
		{"cloudssh-hello", "cloudssh-", hostAlias{service: "hello"}},
		{"CloudSSH-Hello", "cloudssh-", hostAlias{service: "hello"}},
		{"hello", "cloudssh-", hostAlias{service: "hello"}},
		{"cloudssh-cloudssh-x", "cloudssh-", hostAlias{service: "cloudssh-x"}},
		{"cloudssh-job:nightly.us-central1", "cloudssh-", hostAlias{service: "job:nightly", region: "us-central1"}},
		{"gcp.hello.us-central1", "gcp.", hostAlias{service: "hello", region: "us-central1"}},
		{"hello.europe-west1", "", hostAlias{service: "hello", region: "europe-west1"}},
		{"hello.europe-west1.my-project", "", hostAlias{service: "hello", region: "europe-west1", project: "my-project"}},
		{"hello.europe-west1.example.com:my-project", "", hostAlias{service: "hello", region: "europe-west1", project: "example.com:my-project"}},
	} {
		got, err := parseHost(c.host, c.prefix)
		if err != nil || got != c.want {
			t.Errorf("%q with %q: %+v, %v", c.host, c.prefix, got, err)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	for _, host := range []string{
		"", ".", "-", "--help", "-oProxyCommand=x", "hello.", "hello..project", "hello.region.", ".hello", "1hello", "hello-",
		"hel lo", "hello;id", "$(id)", "`id`", "hello|x", "hello&", "he'llo", `he"llo`, `he\llo`, "hello\n", "hello\x00", "hello*", "?", "a,b", "!hello",
		"~hello", "hello/x", "hello@x", "héllo", "hello_x", "hello.us_central1", "hello.us:x", "hello.1region", "hello.region.-project", "hello.region.project.",
		"%h", "cloudssh-", "[hello]", "#hello", strings.Repeat("a", 50), "a." + strings.Repeat("b.", 200) + "c",
	} {
		if got, err := parseHost(host, "cloudssh-"); err == nil {
			t.Errorf("%q is %+v", host, got)
		} else if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%q: the message is %q", host, err)
		}
	}
}
