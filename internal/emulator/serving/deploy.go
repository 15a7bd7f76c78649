package serving

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Deploy pulls the revision's images, starts one instance and returns when it has passed its startup probes: the revision
// is Ready. Its conditions are reported as they change, in order, from the calling goroutine: ContainerReady (the images),
// ResourcesAvailable (the sandbox), ContainerHealthy (the probes), Active and, first and last, Ready.
//
// The error is a [*DeployError], ErrExists, ErrRemoved, or why ctx ended. After an error the revision has no instance and
// answers 503; its logs stay. Either way it is there until Remove.
func (f *Fleet) Deploy(ctx context.Context, rev Revision, report func(*runpb.Condition)) error {
	r, err := f.add(rev)
	if err != nil {
		return fmt.Errorf("deploying %s: %w", rev.Key(), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(ErrRemoved) })()

	d := &deployment{revision: r, report: report}
	if err := d.run(ctx); err != nil {
		d.undo()
		if r.ctx.Err() != nil { // ctx may not know yet
			cancel(ErrRemoved)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("deploying %s: %w", rev.Key(), context.Cause(ctx))
		}
		return d.fail(err)
	}
	return nil
}

// A deployment is one call of Deploy.
type deployment struct {
	*revision
	report  func(*runpb.Condition)
	current string // the condition that is being worked on
	first   *instance
}

func (d *deployment) run(ctx context.Context) error {
	d.set(condReady, runpb.Condition_CONDITION_RECONCILING, "Deploying Revision.")
	images := d.begin(condImage, "Importing container image.")
	p, err := newPlan(d.rev, d.fleet.o.RequestTimeoutCap)
	if err != nil {
		return err
	}
	if err := d.fleet.pull(ctx, p); err != nil {
		return err
	}
	images("Container image import completed in %s.")
	if d.rev.Template.GetHealthCheckDisabled() {
		d.serve(p)
		d.skip()
		return nil
	}
	provisioning := d.begin(condResources, "Provisioning imported containers.")
	i, err := d.launchFirst(p)
	if err != nil {
		return err
	}
	d.first = i
	if err := i.await(ctx, i.provisioned); err != nil {
		return err
	}
	provisioning("Provisioning imported containers completed in %s.")
	healthy := d.begin(condHealthy, "Waiting for the containers to become healthy.")
	if err := i.await(ctx, i.settled); err != nil {
		return err
	}
	if hook := d.fleet.o.BeforeReady; hook != nil {
		if err := hook(ctx, d.rev.Name); err != nil {
			return err
		}
	}
	healthy("Containers became healthy in %s.")
	d.serve(p)
	d.active()
	return nil
}

// await waits for a step of the start.
func (i *instance) await(ctx context.Context, step <-chan struct{}) error {
	select {
	case <-step:
	case <-i.settled:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-i.settled:
		return i.err
	default:
		return nil
	}
}

// launchFirst starts the instance that tells whether the revision works.
func (r *revision) launchFirst(p *plan) (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == removed {
		return nil, ErrRemoved
	}
	r.plan = p
	return r.launch(), nil
}

// serve opens the revision to requests.
func (r *revision) serve(p *plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == deploying {
		if r.plan == nil { // else instances are reading it
			r.plan = p
		}
		r.state = serving
		r.settle()
	}
}

// undo leaves nothing of a revision that cannot serve.
func (d *deployment) undo() {
	d.halt(failed, errKill)
	if d.first != nil {
		<-d.first.over
	}
}

func (d *deployment) fail(err error) error {
	e := d.deployError(err)
	if e.Condition == "" {
		e.Condition = d.current
	}
	for _, name := range []string{e.Condition, condReady} {
		c := condition(name)
		e.Fail(c)
		d.report(c)
	}
	return e
}

func condition(name string) *runpb.Condition {
	return &runpb.Condition{Type: name, LastTransitionTime: timestamppb.Now()}
}

func (d *deployment) set(name string, state runpb.Condition_State, message string) {
	c := condition(name)
	c.State, c.Message = state, message
	d.report(c)
}

// begin reports that a condition is worked on. The function that it returns reports the success; its message takes the
// time that it took.
func (d *deployment) begin(name, message string) func(done string) {
	d.current = name
	start := time.Now()
	d.set(name, runpb.Condition_CONDITION_RECONCILING, message)
	return func(done string) {
		took := strconv.FormatFloat(time.Since(start).Seconds(), 'f', 2, 64) + "s"
		d.set(name, runpb.Condition_CONDITION_SUCCEEDED, fmt.Sprintf(done, took))
	}
}

// active reports the end of a deployment that went well.
func (d *deployment) active() {
	c := condition(condActive)
	c.State, c.Severity = runpb.Condition_CONDITION_SUCCEEDED, runpb.Condition_INFO
	d.report(c)
	d.set(condReady, runpb.Condition_CONDITION_SUCCEEDED, "")
}

// skip reports that the service did not want its health checked.
func (d *deployment) skip() {
	d.set(condResources, runpb.Condition_CONDITION_SUCCEEDED, "")
	c := condition(condHealthy)
	c.State, c.Message = runpb.Condition_CONDITION_SUCCEEDED, "Container health check was skipped."
	c.Reasons = &runpb.Condition_RevisionReason_{RevisionReason: runpb.Condition_HEALTH_CHECK_SKIPPED}
	d.report(c)
	d.active()
}

// pull gets the images of all containers, each once.
func (f *Fleet) pull(ctx context.Context, p *plan) error {
	type result struct {
		image  v1.Image
		config v1.Config
	}
	results := map[string]*result{}
	for _, c := range p.containers {
		results[c.spec.GetImage()] = &result{}
	}
	g, ctx := errgroup.WithContext(ctx)
	for ref, r := range results {
		g.Go(func() (err error) {
			if r.image, r.config, err = f.pullOne(ctx, ref); err != nil {
				return &imageError{ref, err}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range p.containers {
		r := results[c.spec.GetImage()]
		c.image, c.config = r.image, r.config
	}
	return nil
}

func (f *Fleet) pullOne(ctx context.Context, ref string) (v1.Image, v1.Config, error) {
	image, err := f.o.Pull(ctx, ref)
	if err != nil {
		return nil, v1.Config{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, v1.Config{}, fmt.Errorf("reading the image's configuration: %w", err)
	}
	if config.OS != "linux" || config.Architecture != "amd64" {
		return nil, v1.Config{}, fmt.Errorf("image for %s/%s: %w", config.Architecture, config.OS, errPlatform)
	}
	return image, config.Config, nil
}
