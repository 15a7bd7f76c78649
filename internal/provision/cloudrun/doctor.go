package cloudrun

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// maxSkew is how much a clock may be wrong before tokens are taken for expired, or for made in the future.
const maxSkew = 2 * time.Minute

// examination is one run of Examine.
type examination struct {
	*Backend
	req    provision.Request
	report func(provision.Check)
	number string // of the project; empty when it cannot be seen
}

// Examine checks all that a twin for req needs, and reports what it finds, in order. It changes nothing. Without a
// target it examines the project alone.
func (b *Backend) Examine(ctx context.Context, req provision.Request, report func(provision.Check)) {
	e := &examination{Backend: b, req: req, report: report}
	e.project(ctx)
	e.clock(ctx)
	e.enabled(ctx, "run.googleapis.com")
	e.permissions(ctx)
	e.ingress(ctx)
	if req.Target.Name == "" {
		e.actAs(ctx, "")
		return
	}
	m := &making{Backend: b, req: req}
	if err := m.prepare(ctx); err != nil {
		e.fail(req.Target.String(), withCommand(err, req.Target))
		return
	}
	e.image(m)
	account := m.req.Overrides.ServiceAccount
	if account == "" {
		account = m.target.revision.GetServiceAccount()
	}
	e.actAs(ctx, account)
	if m.images.gone == nil {
		e.agent(ctx, m)
	}
	e.dryRun(ctx, m)
}

// image says whether the image of the target is there.
func (e *examination) image(m *making) {
	check, revision := e.req.Target.String(), lastSegment(m.target.revision.GetName())
	switch {
	case m.images.gone == nil:
		e.good(check, revision+" and its image can be read")
	case m.target.exporter != "":
		e.report(provision.Check{
			Name: check, Verdict: provision.Warning,
			Detail: fmt.Sprintf("%v; Cloud Run will be asked to push its own copy there", m.images.gone),
		})
	default:
		e.fail(check, provision.Hint(m.images.gone, "cloudssh "+check+" --image IMAGE"))
	}
}

func (e *examination) good(name, detail string) {
	e.report(provision.Check{Name: name, Verdict: provision.OK, Detail: detail})
}

// unknown reports that the answer to a question was an error.
func (e *examination) unknown(name, what string, err error) {
	if st, ok := status.FromError(err); ok {
		err = &platformError{text: text(st), err: err}
	}
	e.report(provision.Check{Name: name, Verdict: provision.Unknown, Detail: fmt.Sprintf("%s: %v", what, err)})
}

// fail reports an error with the commands that it hints at.
func (e *examination) fail(name string, err error) {
	e.report(provision.Check{Name: name, Verdict: provision.Failed, Detail: err.Error(), Commands: provision.Hints(err)})
}

// lacks reports a permission that is not there.
func (e *examination) lacks(name, detail, role string, commands ...string) {
	e.report(provision.Check{Name: name, Verdict: provision.Failed, Detail: detail, Role: role, Commands: commands})
}

// clock compares our clock with Google's, by the Date of an answer.
func (e *examination) clock(ctx context.Context) {
	const check = "clock"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.RESTURL+"/", nil)
	if err != nil {
		e.fail(check, err)
		return
	}
	before := time.Now()
	resp, err := e.REST.Do(req)
	if err != nil {
		e.fail("connection", fmt.Errorf("reaching %s: %w", e.RESTURL, err))
		return
	}
	after := time.Now()
	if err := resp.Body.Close(); err != nil {
		e.Logger.DebugContext(ctx, "closing an answer", "error", err)
	}
	e.good("connection", fmt.Sprintf("%s answers in %d ms", e.RESTURL, max(after.Sub(before).Milliseconds(), 1)))
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		e.unknown(check, "reading the time of the answer", err)
		return
	}
	if skew := before.Add(after.Sub(before) / 2).Sub(theirs); skew.Abs() > maxSkew {
		e.lacks(check, fmt.Sprintf("this machine's clock is off by %s: tokens will be refused", skew.Round(time.Second)), "",
			"sudo timedatectl set-ntp true")
		return
	}
	e.good(check, fmt.Sprintf("right to within %d minutes", int(maxSkew.Minutes())))
}

// agent checks the way by which the agent gets into the twin.
func (e *examination) agent(ctx context.Context, m *making) {
	const check = "injection"
	method := e.req.Inject
	if method == provision.InjectNone {
		e.good(check, "none: the image brings the agent")
		return
	}
	var refused error
	if method != provision.InjectSidecar {
		if refused = e.mayPush(m); refused == nil {
			e.good(check, "layer: the registry takes one beside "+m.images.pinned[m.images.main])
			return
		}
		if method == provision.InjectLayer {
			e.fail(check, refused)
			return
		}
	}
	image := m.agentImage()
	err := e.reachable(ctx, image)
	switch {
	case err != nil && refused != nil:
		e.fail(check, provision.Hint(fmt.Errorf("no layer: %w; no sidecar: %w", refused, err), provision.Hints(refused)...))
	case err != nil:
		e.fail(check, provision.Hint(err, "cloudssh "+e.req.Target.String()+" --inject sidecar --agent-image IMAGE # a copy that Cloud Run can read"))
	case refused != nil:
		c := provision.Check{Name: check, Verdict: provision.Warning, Commands: provision.Hints(refused)}
		c.Detail = fmt.Sprintf("sidecar of %s, since there can be no layer: %v", image, refused)
		e.report(c)
	default:
		e.good(check, "sidecar of "+image)
	}
}

// mayPush asks the registry whether it would take a layer: an upload is begun and given up.
func (e *examination) mayPush(m *making) error {
	ref, err := name.ParseReference(m.images.pinned[m.images.main])
	if err != nil {
		return fmt.Errorf("reading the image's name: %w", err)
	}
	if err := remote.CheckPushPermission(ref, e.Keychain, http.DefaultTransport); err != nil {
		return e.pushError(fmt.Errorf("pushing to %s: %w", ref.Context(), err), ref.Context())
	}
	return nil
}

func (e *examination) reachable(ctx context.Context, image string) error {
	ref, err := name.ParseReference(image)
	if err != nil {
		return fmt.Errorf("reading the name of the agent's image: %w", err)
	}
	if _, err := remote.Head(ref, e.remote(ctx)...); err != nil {
		return fmt.Errorf("reading the agent's image %s: %w", image, err)
	}
	return nil
}

// dryRun has the platform judge the twin's spec. The image with the agent is not there yet: its base stands for it.
func (e *examination) dryRun(ctx context.Context, m *making) {
	const check = "Cloud Run accepts the twin"
	plan := m.req.Target.TwinName()
	image := m.images.pinned[m.images.main]
	if image == "" { // gone, and its digest is not known
		image = m.entered().GetImage()
	}
	spec, _, err := m.spec(plan, image)
	if err != nil {
		e.fail(check, err)
		return
	}
	op, err := e.services.CreateService(ctx, &runpb.CreateServiceRequest{
		Parent: e.parent(m.target.region), ServiceId: plan, Service: spec, ValidateOnly: true,
	})
	if err == nil && op.Done() {
		_, err = op.Poll(ctx)
	}
	switch {
	case err == nil || status.Code(err) == codes.AlreadyExists:
		e.good(check, "a dry run of "+plan+" was accepted")
	default:
		e.fail(check, e.explain(err, "creating "+plan, "run.services.create"))
	}
}

// ingress looks for an organisation's policy that keeps services from being reached from outside
// (https://cloud.google.com/run/docs/securing/ingress#org-policy).
func (e *examination) ingress(ctx context.Context) {
	const check, constraint = "organisation policy run.allowedIngress", "run.allowedIngress"
	var policy struct {
		Spec struct {
			Rules []struct {
				AllowAll bool `json:"allowAll"`
				DenyAll  bool `json:"denyAll"`
				Values   struct {
					AllowedValues []string `json:"allowedValues"`
					DeniedValues  []string `json:"deniedValues"`
				} `json:"values"`
			} `json:"rules"`
		} `json:"spec"`
	}
	err := e.call(ctx, "orgpolicy", http.MethodGet, "/v2/projects/"+e.Project+"/policies/"+constraint+":getEffectivePolicy", nil, &policy)
	if err != nil {
		e.unknown(check, "it cannot be read, and need not be", err)
		return
	}
	for _, r := range policy.Spec.Rules {
		allowed := r.Values.AllowedValues
		if r.DenyAll || contains(r.Values.DeniedValues, "all") || len(allowed) > 0 && !contains(allowed, "all") {
			e.lacks(check,
				"it forbids ingress all, by which a twin is reached (its door is shut by IAM); ask an administrator of the organisation to except this project",
				"roles/orgpolicy.policyAdmin",
				fmt.Sprintf("gcloud org-policies set-policy POLICY.yaml # name: projects/%s/policies/%s, spec: {rules: [{values: {allowedValues: [all]}}]}", e.Project, constraint))
			return
		}
	}
	e.good(check, "ingress all is allowed")
}

func contains(values []string, value string) bool {
	for _, v := range values {
		if strings.TrimPrefix(v, "is:") == value {
			return true
		}
	}
	return false
}
