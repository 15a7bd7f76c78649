package emulator_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/cloudssh/cloudssh/internal/emulator"
)

// holdUntil is a BeforeReady that waits for a channel to be closed.
func holdUntil(hold <-chan struct{}) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const invoker = "invoker@example.com"

func idToken(t *testing.T, s *emulator.Server, email, audience string) string {
	t.Helper()
	token, err := s.Issuer().IDToken(email, audience)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

func TestIngressAuthentication(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.Grant(invoker, "roles/run.invoker")
	s.Grant("viewer@example.com", "roles/run.viewer")
	url := create(t, services(t, s), "private", service(s, "demo/web")).GetUri()
	good := idToken(t, s, invoker, url)
	const gcloud = "32555940559.apps.googleusercontent.com"
	access, _ := s.Issuer().AccessToken(invoker)
	for name, test := range map[string]struct {
		headers []string
		want    int
	}{
		"nothing":            {nil, 403},
		"good":               {[]string{"Authorization", good}, 200},
		"good, serverless":   {[]string{"X-Serverless-Authorization", good}, 200},
		"audience of gcloud": {[]string{"Authorization", idToken(t, s, invoker, gcloud)}, 200},
		"other audience":     {[]string{"Authorization", idToken(t, s, invoker, "https://other.example")}, 403},
		"no permission":      {[]string{"Authorization", idToken(t, s, "viewer@example.com", url)}, 403},
		"a stranger":         {[]string{"Authorization", idToken(t, s, "nobody@example.com", url)}, 403},
		"damaged":            {[]string{"Authorization", good[:len(good)-8] + "AAAAAAAA"}, 403},
		"no bearer":          {[]string{"Authorization", strings.Replace(good, "Bearer", "Basic", 1)}, 403},
		"access token":       {[]string{"Authorization", "Bearer " + access}, 403},
		"only the serverless one counts": {
			[]string{"X-Serverless-Authorization", "Bearer x.y.z", "Authorization", good}, 403,
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := get(t, s, url, test.headers...)
			if code != test.want {
				t.Errorf("status %d, want %d\n%s", code, test.want, body)
			}
			if test.want == 403 && !strings.Contains(body, "Your client does not have permission to get URL <code>/</code> from this server.") {
				t.Errorf("page %s", body)
			}
		})
	}

	_, body := get(t, s, url, "X-Serverless-Authorization", good, "Authorization", "Bearer the.apps.own")
	unsigned := good[:strings.LastIndexByte(good, '.')] + ".SIGNATURE_REMOVED_BY_GOOGLE"
	for _, want := range []string{"X-Serverless-Authorization: " + unsigned, "Authorization: Bearer the.apps.own\n", "K_SERVICE=private", "PORT=8080"} {
		if !strings.Contains(body, want) {
			t.Errorf("the service did not see %q:\n%s", want, body)
		}
	}
}

func TestIngressSettings(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := services(t, s)
	svc := create(t, c, "open", service(s, "demo/web"))
	set := func(change func(*runpb.Service), path string) {
		t.Helper()
		next := &runpb.Service{Name: svc.GetName()}
		change(next)
		op, err := c.UpdateService(t.Context(), &runpb.UpdateServiceRequest{Service: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, url string, want int, text string) {
		t.Helper()
		if code, body := get(t, s, url); code != want || !strings.Contains(body, text) {
			t.Errorf("%s: %d, want %d %q\n%s", what, code, want, text, body)
		}
	}
	url := svc.GetUri()
	expect("private", url, 403, "permission")
	policy := &iampb.Policy{Bindings: []*iampb.Binding{{Role: "roles/run.invoker", Members: []string{"allUsers"}}}}
	if _, err := c.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: svc.GetName(), Policy: policy}); err != nil {
		t.Fatal(err)
	}
	expect("allUsers", url, 200, "K_SERVICE=open")
	if _, err := c.SetIamPolicy(t.Context(), &iampb.SetIamPolicyRequest{Resource: svc.GetName(), Policy: &iampb.Policy{}}); err != nil {
		t.Fatal(err)
	}
	expect("private again", url, 403, "permission")
	set(func(s *runpb.Service) { s.InvokerIamDisabled = true }, "invoker_iam_disabled")
	expect("public", url, 200, "K_SERVICE=open")
	expect("the instance's identity", url+"/metadata", 200, "-compute@developer.gserviceaccount.com")
	for _, path := range []string{"/healthz", "/_ah/warmup", "/eventlog"} {
		expect("reserved path", url+path, 404, "That’s an error")
	}
	expect("a path like a reserved one", url+"/status/healthz", 200, "K_SERVICE")
	expect("unknown host", strings.Replace(url, "open-", "closed-", 1), 404, "That’s an error")
	set(func(s *runpb.Service) { s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_INTERNAL_ONLY }, "ingress")
	expect("internal", url, 404, "")
	set(func(s *runpb.Service) { s.Ingress = runpb.IngressTraffic_INGRESS_TRAFFIC_ALL }, "ingress")
	set(func(s *runpb.Service) { s.DefaultUriDisabled = true }, "default_uri_disabled")
	expect("without a URL", url, 404, "")
}

func TestIngressBeforeReady(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := start(t, func(o *emulator.Options) { o.BeforeReady = holdUntil(hold) })
	c := services(t, s)
	svc := service(s, "demo/web")
	svc.InvokerIamDisabled = true
	op, err := c.CreateService(t.Context(), &runpb.CreateServiceRequest{Parent: parent, ServiceId: "slow", Service: svc})
	if err != nil {
		t.Fatal(err)
	}
	now, err := c.GetService(t.Context(), &runpb.GetServiceRequest{Name: parent + "/services/slow"})
	if err != nil || !now.GetReconciling() || now.GetTerminalCondition().GetState() != runpb.Condition_CONDITION_RECONCILING {
		t.Fatalf("while it starts: %v, %v", now, err)
	}
	if code, body := get(t, s, now.GetUri()); code != 503 || !strings.Contains(body, "Service Unavailable") {
		t.Errorf("%d %s", code, body)
	}
	close(hold)
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, s, now.GetUri()); code != 200 {
		t.Errorf("%d %s", code, body)
	}
}

// open is a public service that echoes on WebSockets.
func open(t *testing.T, s *emulator.Server, c *run.ServicesClient) string {
	t.Helper()
	svc := service(s, "demo/web")
	svc.InvokerIamDisabled = true
	return create(t, c, "open", svc).GetUri()
}

func dial(t *testing.T, s *emulator.Server, url string) *websocket.Conn {
	t.Helper()
	client := s.Client()
	t.Cleanup(client.CloseIdleConnections)
	conn, resp, err := websocket.Dial(t.Context(), url+"/echo", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("status %d", resp.StatusCode)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func echo(t *testing.T, conn *websocket.Conn, text string) error {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageBinary, []byte(text)); err != nil {
		return err
	}
	_, got, err := conn.Read(t.Context())
	if err == nil && string(got) != text {
		t.Errorf("echo %q, want %q", got, text)
	}
	return err
}

func TestWebSocketEndsWithTheService(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := services(t, s)
	conn := dial(t, s, open(t, s, c))
	if err := echo(t, conn, "hello"); err != nil {
		t.Fatal(err)
	}
	op, err := c.DeleteService(t.Context(), &runpb.DeleteServiceRequest{Name: parent + "/services/open"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("the connection outlived its service")
	}
}

func TestDropAfter(t *testing.T) {
	t.Parallel()
	var drop atomic.Int64
	s := start(t, func(o *emulator.Options) {
		o.DropAfter = func(*http.Request) int64 { return drop.Load() }
	})
	url := open(t, s, services(t, s))
	drop.Store(2000)
	conn := dial(t, s, url)
	text := strings.Repeat("x", 100)
	n := 0
	for echo(t, conn, text) == nil {
		if n++; n > 20 {
			t.Fatal("the connection was not cut")
		}
	}
	if n == 0 {
		t.Error("the connection was cut at once")
	}
}

func TestFrontEnd(t *testing.T) {
	t.Parallel()
	var once atomic.Bool
	s := start(t, func(o *emulator.Options) {
		o.FrontEnd = func(w http.ResponseWriter, _ *http.Request) bool {
			if once.Swap(true) {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
	})
	url := open(t, s, services(t, s))
	first, _ := get(t, s, url)
	second, _ := get(t, s, url)
	if first != 404 || second != 200 {
		t.Errorf("statuses %d and %d, want 404 and 200", first, second)
	}
}
