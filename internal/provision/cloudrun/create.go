package cloudrun

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/inject"
	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	// findTimeout bounds the search for the target, or one look at a name. Without a deadline of ours the library has one
	// of 10 s for each call, a gcloud that makes the token included, which on a slow machine is not enough.
	findTimeout = time.Minute
	// createTimeout bounds the call that creates, which goes on when the user interrupts: only its answer tells whether
	// there is something to delete.
	createTimeout = 30 * time.Second
	// readyTimeout bounds the wait for a twin. Cloud Run gives a container four minutes; the image has to be imported
	// before.
	readyTimeout = 15 * time.Minute
	// maxNames bounds the alternate names tried, maxTries how often one name is looked at again.
	maxNames = 8
	maxTries = 20
)

// making is one run of Create.
type making struct {
	*Backend
	req      provision.Request
	progress provision.Progress
	target   target
	images   images
	key      string // the fingerprint of the owner's
	lease    provision.Lease
	inject   provision.InjectMethod // decided: layer, sidecar or none
	image    string                 // of the entered container; empty until the agent is provided for
	sidecar  string                 // the agent's image, with InjectSidecar
}

// Create implements provision.Backend.
func (b *Backend) Create(ctx context.Context, req provision.Request, p provision.Progress) (*provision.Twin, error) {
	m := &making{Backend: b, req: req, progress: p}
	t, err := m.run(ctx)
	return t, withCommand(err, req.Target)
}

// run prepares, brings back an image that is gone, and makes or joins a twin.
func (m *making) run(ctx context.Context) (*provision.Twin, error) {
	if err := m.prepare(ctx); err != nil {
		return nil, err
	}
	if m.images.gone != nil {
		err := m.step("restoring the image", func(update func(string)) (err error) {
			m.images, err = m.restore(ctx, m.target, m.images, update)
			return err
		})
		if err == nil {
			err = m.settleMethod()
		}
		if err != nil {
			return nil, err
		}
	}
	return m.place(ctx)
}

// Plan implements provision.Backend. The name is the first choice: whether it is free only Create sees, and only it can
// see whether a layer can be pushed.
func (b *Backend) Plan(ctx context.Context, req provision.Request, p provision.Progress) (*provision.Plan, error) {
	m := &making{Backend: b, req: req, progress: p}
	if err := m.prepare(ctx); err != nil {
		return nil, withCommand(err, req.Target)
	}
	name := req.Target.TwinName()
	spec, fields, err := m.spec(name, m.images.pinned[m.images.main])
	if err != nil {
		return nil, err
	}
	plan := m.plan(name, spec, fields)
	return &plan, nil
}

func (m *making) plan(name string, spec *runpb.Service, fields []provision.Field) provision.Plan {
	return provision.Plan{Twin: m.twin(name, spec), Inject: m.inject, Fields: fields}
}

// prepare reads all that the twin is made of, and changes nothing. What cannot work is an error here.
func (m *making) prepare(ctx context.Context) error {
	if m.req.MinInstances < 0 || m.req.MinInstances > 1 {
		return fmt.Errorf("a twin keeps 0 or 1 instances, not %d", m.req.MinInstances)
	}
	var err error
	if m.key, err = fingerprint(m.req.Owner.PublicKey); err != nil {
		return err
	}
	if err := Validate(m.req.Overrides); err != nil {
		return err
	}
	err = m.step("finding "+m.req.Target.String(), func(func(string)) (err error) {
		ctx, cancel := context.WithTimeout(ctx, findTimeout)
		defer cancel()
		m.target, err = m.find(ctx, m.req.Target)
		return err
	})
	if err != nil {
		return err
	}
	err = m.step("reading image", func(update func(string)) (err error) {
		m.images, err = m.read(ctx, m.target, m.req, update)
		return err
	})
	if err != nil {
		return err
	}
	return m.settleMethod()
}

// settleMethod decides how the agent gets in, begins the lease and tries the derivation.
func (m *making) settleMethod() error {
	if err := m.choose(); err != nil {
		return err
	}
	m.lease = m.newLease()
	_, _, err := m.spec(m.req.Target.TwinName(), m.images.pinned[m.images.main])
	if errors.Is(err, errTooManyContainers) && m.images.noLayer != nil {
		return fmt.Errorf("%w; and: %w", m.images.noLayer, err)
	}
	return err
}

// twin is what is known of a twin before it is made.
func (m *making) twin(name string, spec *runpb.Service) provision.Twin {
	return provision.Twin{
		Name: name, Source: m.req.Target.String(), Project: m.Project, Region: m.target.region, Shape: shapeOf(spec),
		Lease: m.lease, Mine: true,
	}
}

// step runs f as a step of the progress.
func (m *making) step(name string, f func(update func(string)) error) error {
	update, done := m.progress.Start(name)
	err := f(update)
	done(err)
	return err
}

func fingerprint(authorizedKey string) (string, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorizedKey))
	if err != nil {
		return "", fmt.Errorf("reading the public key: %w", err)
	}
	return ssh.FingerprintSHA256(key), nil
}

func (m *making) newLease() provision.Lease {
	return provision.Lease{
		OwnerHash: provision.OwnerHash(m.req.Owner.Account), Account: m.req.Owner.Account, Reason: m.req.Reason,
		Expires: m.expiry(m.req.Clock()), Keep: m.req.Keep, Key: m.key, Version: m.req.Version,
		Spec: m.fingerprint(), Maker: rand.Text(),
	}
}

// expiry is when a lease that begins now ends: labels hold whole seconds, and no user is to lose a part of one.
func (m *making) expiry(now time.Time) time.Time {
	ttl := m.req.TTL
	if ttl <= 0 {
		ttl = provision.DefaultTTL
	}
	return now.Add(ttl + time.Second - 1).Truncate(time.Second)
}

// fingerprint is a hash of all that makes one twin as good as another for this request: what runs, what the user asked
// for, and which client can enter.
func (m *making) fingerprint() string {
	h := sha256.New()
	word := func(words ...any) {
		for _, w := range words {
			h.Write(fmt.Appendf(nil, "%d:%v", len(fmt.Sprint(w)), w))
		}
	}
	rev := m.target.revision
	word(rev.GetName(), rev.GetUid(), rev.GetGeneration(), m.key, m.req.Version)
	word(cmp.Or(m.req.Inject, provision.InjectAuto), m.req.AgentImage, m.req.Container, m.req.NoSidecars, m.req.WritableVolumes, m.req.GPU)
	word(fmt.Sprintf("%#v", m.req.Overrides)) // maps in the order of their keys; none and empty are two things
	for _, n := range slices.Sorted(maps.Keys(m.images.pinned)) {
		word(n, m.images.pinned[n])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// errTaken: a name belongs to something else.
var errTaken = errors.New("the name is taken")

// place goes through the names a twin may have until one is free, or has a twin to join.
func (m *making) place(ctx context.Context) (*provision.Twin, error) {
	target := m.req.Target
	for n := range maxNames {
		name := target.TwinName()
		if n > 0 {
			name = target.AlternateName(m.req.Owner, n)
		}
		t, err := m.at(ctx, name)
		if !errors.Is(err, errTaken) {
			return t, err
		}
		m.Logger.DebugContext(ctx, "name taken", "name", name)
	}
	return nil, provision.Hint(fmt.Errorf("all names for a twin of %s are taken, from %s on", target, target.TwinName()),
		"cloudssh cleanup --project "+m.Project)
}

// at makes or joins a twin of this name. The state of a name can change under our eyes, by another cloudssh that was
// started at the same time or ends just now, so it is looked at again whenever it turns out to be other than it was.
func (m *making) at(ctx context.Context, name string) (*provision.Twin, error) {
	pause := m.pauses()
	last := free
	for range maxTries {
		now, svc, err := m.look(ctx, name)
		if err != nil {
			return nil, err
		}
		last = now
		switch now {
		case taken:
			return nil, errTaken
		case useful:
			if t, err := m.join(ctx, svc); !errors.Is(err, errVanished) {
				return t, err
			}
		case useless:
			err = m.remove(ctx, svc)
		case free:
			if t, err := m.make(ctx, name); !errors.Is(err, errExists) {
				return t, err
			}
		}
		if err == nil {
			err = pause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	if last == leaving { // the platform takes its time; there are other names
		return nil, errTaken
	}
	return nil, fmt.Errorf("the name %s is neither free nor to be seen", name)
}

// state is what a name is to us.
type state int

const (
	free    state = iota
	taken         // another's, or a twin of ours that this request cannot use
	useful        // a twin to join
	useless       // a twin of ours that nobody can use
	leaving       // being deleted
)

func (m *making) look(ctx context.Context, name string) (state, *runpb.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	svc, err := m.services.GetService(ctx, &runpb.GetServiceRequest{Name: m.resource(m.target.region, name)})
	if status.Code(err) == codes.NotFound {
		return free, nil, nil
	}
	if err != nil {
		return 0, nil, m.explain(err, "reading service "+name, "run.services.get")
	}
	return m.judge(svc), svc, nil
}

func (m *making) judge(svc *runpb.Service) state {
	t, ok := m.twinOf(svc)
	switch {
	case !ok || t.Source != m.req.Target.String() || t.OwnerHash != m.lease.OwnerHash:
		return taken
	case svc.GetDeleteTime() != nil:
		return leaving
	case t.Expired(m.req.Clock()) || broken(svc):
		return useless
	case t.Spec != m.lease.Spec, t.Shape.MinInstances < m.req.MinInstances:
		return taken
	}
	return useful
}

func (m *making) remove(ctx context.Context, svc *runpb.Service) error {
	t, _ := m.twinOf(svc)
	return m.step("deleting the old "+t.Name, func(func(string)) error { return m.Delete(ctx, t) })
}

// derive makes the twin's spec. The agent goes into the image only now, when it is known that a twin is to be made.
func (m *making) derive(ctx context.Context, name string) (*runpb.Service, []provision.Field, error) {
	if m.image == "" {
		if err := m.addAgent(ctx); err != nil {
			return nil, nil, err
		}
	}
	m.lease.Expires = m.expiry(m.req.Clock()) // the lease begins here: a slow push is not the twin's time
	twin, fields, err := m.spec(name, m.image)
	for _, f := range fields {
		if f.Differs() {
			m.Logger.DebugContext(ctx, "the twin differs", "field", f.Path, "decision", f.Decision, "reason", f.Reason)
		}
	}
	return twin, fields, err
}

// spec is the twin's of this name, with this image in the container that is entered.
func (m *making) spec(name, image string) (*runpb.Service, []provision.Field, error) {
	pinned := maps.Clone(m.images.pinned)
	pinned[m.images.main] = image
	command, args := appCommand(m.entered(), m.req.Overrides)
	return Derive(m.target.service, m.target.revision, Spec{
		Project: m.Project, Region: m.target.region, Source: m.req.Target.String(), Name: name, Lease: m.lease, Made: m.req.Clock(),
		Images: pinned, App: inject.AppOf(m.images.config, command, args, m.entered().GetWorkingDir()),
		Key: m.req.Owner.PublicKey, IdleTimeout: m.req.IdleTimeout, Version: m.req.Version, MinInstances: m.req.MinInstances,
		Overrides: m.req.Overrides, Inject: m.inject, AgentImage: cmp.Or(m.sidecar, m.agentImage()), Container: m.req.Container,
		NoSidecars: m.req.NoSidecars, WritableVolumes: m.req.WritableVolumes, GPU: m.req.GPU, ExtraEnv: m.target.env,
	})
}

// entered is the container that the agent goes into.
func (m *making) entered() *runpb.Container { return m.target.revision.GetContainers()[m.images.main] }
