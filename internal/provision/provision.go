// Package provision is the life of a twin: what is asked for, what a backend promises, and the function that makes a
// twin, lets the caller use it and takes it down again whatever happened in between. It knows no platform; the
// packages below it do.
package provision

import (
	"context"
	"iter"
	"time"
)

// Limits of a twin that its request does not set.
const (
	// DefaultTTL is the lease of a twin whose request names none.
	DefaultTTL = 8 * time.Hour
	// DefaultIdleTimeout is how long a twin without a session lives, unless the user says otherwise.
	DefaultIdleTimeout = 30 * time.Minute
	// Grace is how long a twin waits for its first session: less than the idle timeout, because a client that never
	// came has most likely been killed.
	Grace = 10 * time.Minute
)

// Owner is who a twin belongs to.
type Owner struct {
	// Account is the identity on the platform, an e-mail address as a rule; empty when there is none (an emulator
	// without credentials).
	Account string
	// PublicKey is the SSH key that opens the twin, in authorized_keys form.
	PublicKey string
}

// Request asks for a twin.
type Request struct {
	// Target is what to copy.
	Target Target
	// Overrides replace what the target has.
	Overrides Overrides
	// Inject is how the agent gets into the twin; "" means InjectAuto.
	Inject InjectMethod
	// AgentImage is the image that a sidecar copies the agent from; "" means the backend's own choice.
	AgentImage string
	// Container is the one that is entered; "" means the one that takes requests.
	Container string
	// NoSidecars leaves the other containers out. WritableVolumes keeps volumes of Cloud Storage and NFS, which hold the
	// target's data, as writable as they are; a twin has them read-only otherwise. GPU keeps the GPU, which has its quota
	// and its price.
	NoSidecars, WritableVolumes, GPU bool
	Owner                            Owner
	// Keep leaves the twin in place after the session. Its lease still ends it.
	Keep bool
	// TTL is the lease, 0 meaning DefaultTTL; IdleTimeout is how long the twin lives without a session, 0 meaning
	// for as long as its lease.
	TTL, IdleTimeout time.Duration
	// Reason is shown to whoever finds the twin.
	Reason string
	// MinInstances is how many instances the platform keeps when no request is open: 0, or 1 so that a session without a
	// connection outlives the 15 minutes after which Cloud Run may stop an idle instance. With 1 the twin costs its rate
	// until it is deleted; see Rate.
	MinInstances int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Version is the version of this build, which is also its agent's.
	Version string
	// Confirm, when not nil, is shown the twin that is about to be made, with its shape; its error ends Create. It is not
	// asked about a twin that is joined.
	Confirm func(context.Context, Twin) error
	// Planned, when not nil, is told what Plan would say of a twin that is about to be made, before Confirm; not of one that
	// is joined.
	Planned func(Plan)
	// Made, when not nil, is told of a twin as soon as it may exist, so before Create returns. With sets it.
	Made func(Twin)
}

// Clock is Now, or time.Now.
func (r Request) Clock() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// Service is one a twin can be made of.
type Service struct {
	Name, Region, URL string
	Ready             bool
}

// Twin is a temporary copy of what is deployed, run as a service.
type Twin struct {
	// Source is what the twin was made of, as users type it: SERVICE, job:NAME or worker-pool:NAME.
	Name, Source, Project, Region string
	// URL is where the agent answers; URLs are all addresses the platform gave to the twin, each valid as the audience
	// of an ID token.
	URL  string
	URLs []string
	// UID tells this twin from a later one of the same name. It may be empty in a listing.
	UID string
	// Shape is what the twin takes of the platform, and so what it costs.
	Shape Shape
	Lease
	Created time.Time
	// Ready: the platform says that the twin serves. Mine: the account that asks owns it. Joined: it was there
	// before Create, which did not make it.
	Ready, Mine, Joined bool
}

// Commands are the command lines that delete the twin by hand.
func (t Twin) Commands() []string {
	return []string{
		"cloudssh cleanup --project " + t.Project,
		"gcloud run services delete " + t.Name + " --region " + t.Region + " --project " + t.Project,
	}
}

// Backend is a platform that can run a twin of what is deployed on it.
type Backend interface {
	// Services lists what a twin can be made of. An error does not end the list when it concerns a part of it, such as
	// a region that does not answer.
	Services(ctx context.Context) iter.Seq2[Service, error]
	// Create makes a twin, or joins the owner's own live one, and returns when it is ready. On failure, the end of ctx
	// included, it deletes what it made before it returns.
	Create(ctx context.Context, req Request, p Progress) (*Twin, error)
	// Plan says what Create would make of the request, without making or changing anything.
	Plan(ctx context.Context, req Request, p Progress) (*Plan, error)
	// Delete removes a twin and returns when it is gone; one that is not there is no error. A later twin of the same
	// name (another UID) and a service that is no twin stay.
	Delete(ctx context.Context, t Twin) error
	// Renew makes the lease of a twin end later, without touching what runs: no instance is replaced. An end that is not
	// later than the twin's is no change and no error. ErrTwinGone when the twin is not there any more, or on its way out;
	// a later twin of the same name and a service that is no twin stay as they are, and are errors.
	Renew(ctx context.Context, t Twin, expires time.Time) error
	// Twins lists all twins of the project, other people's included. Errors as for Services.
	Twins(ctx context.Context) iter.Seq2[Twin, error]
}

// Progress announces a step. It returns a function that says more about the step while it lasts, and one that ends it;
// the latter must be called once.
type Progress func(step string) (update func(detail string), done func(error))

// Start is p(step), or does nothing when p is nil.
func (p Progress) Start(step string) (update func(detail string), done func(error)) {
	if p == nil {
		return func(string) {}, func(error) {}
	}
	return p(step)
}
