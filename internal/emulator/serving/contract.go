package serving

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/run/apiv2/runpb"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	defaultPort    = 8080
	defaultTimeout = 300 * time.Second
	maxTimeout     = 3600 * time.Second
	// defaultMaxInstances is what a service gets that sets no maximum.
	defaultMaxInstances = 100
)

// A plan is what all instances of a revision have in common.
type plan struct {
	rev         Revision
	containers  []*container
	volumes     map[string]*runpb.Volume
	port        int  // of the ingress container
	h2c         bool // the ingress container speaks HTTP/2
	concurrency int
	timeout     time.Duration // of a request
	memory      int64         // of all containers, bytes
}

// A container is one container of the plan.
type container struct {
	spec     *runpb.Container
	name     string
	image    v1.Image
	config   v1.Config // the image's
	cpu      float64
	memory   int64 // bytes
	ingress  bool
	startup  *probe // nil: started as soon as its process runs
	liveness *probe
}

// newPlan reads a template. The images come later.
func newPlan(rev Revision, timeoutCap time.Duration) (*plan, error) {
	t := rev.Template
	if len(t.GetContainers()) == 0 {
		return nil, errors.New("the template has no containers")
	}
	p := &plan{
		rev:     rev,
		volumes: map[string]*runpb.Volume{},
		timeout: requestTimeout(t, timeoutCap),
		port:    defaultPort,
	}
	for _, v := range t.GetVolumes() {
		p.volumes[v.GetName()] = v
	}
	for _, c := range t.GetContainers() {
		for _, port := range c.GetPorts() {
			p.port = cmp.Or(int(port.GetContainerPort()), defaultPort)
			p.h2c = port.GetName() == "h2c"
		}
	}
	for n, spec := range t.GetContainers() {
		if err := p.add(n, spec); err != nil {
			return nil, err
		}
	}
	p.concurrency = int(t.GetMaxInstanceRequestConcurrency())
	if p.concurrency <= 0 {
		p.concurrency = 80
		if p.ingress().cpu < 1 {
			p.concurrency = 1
		}
	}
	return p, p.checkOrder()
}

func requestTimeout(t *runpb.RevisionTemplate, limit time.Duration) time.Duration {
	d := t.GetTimeout().AsDuration()
	if d <= 0 {
		d = defaultTimeout
	}
	if limit <= 0 {
		limit = maxTimeout
	}
	return min(d, limit)
}

func (p *plan) add(n int, spec *runpb.Container) error {
	c := &container{
		spec: spec,
		// The platform numbers what has no name.
		name:    cmp.Or(spec.GetName(), fmt.Sprintf("%s-%d", p.rev.Service, n+1)),
		ingress: p.rev.Kind == Service && (len(spec.GetPorts()) > 0 || len(p.rev.Template.GetContainers()) == 1),
	}
	limits := spec.GetResources().GetLimits()
	var err error
	if c.cpu, err = parseCPU(cmp.Or(limits["cpu"], "1")); err != nil {
		return fmt.Errorf("container %s: %w", c.name, err)
	}
	if c.memory, err = parseBytes(cmp.Or(limits["memory"], "512Mi")); err != nil {
		return fmt.Errorf("container %s: %w", c.name, err)
	}
	p.memory += c.memory
	c.startup = newProbe(spec.GetStartupProbe(), p.port)
	if c.startup == nil && c.ingress {
		c.startup = defaultStartupProbe(p.port)
	}
	c.liveness = newProbe(spec.GetLivenessProbe(), p.port)
	p.containers = append(p.containers, c)
	return nil
}

func (p *plan) ingress() *container {
	for _, c := range p.containers {
		if c.ingress {
			return c
		}
	}
	return p.containers[0]
}

func (p *plan) find(name string) *container {
	for _, c := range p.containers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// checkOrder refuses what would wait for ever: the containers that depend on each other in a circle.
func (p *plan) checkOrder() error {
	const open, done = 1, 2
	state := map[string]int{}
	var visit func(c *container) error
	visit = func(c *container) error {
		if state[c.name] == open {
			return fmt.Errorf("container %s depends on itself", c.name)
		}
		if state[c.name] == done {
			return nil
		}
		state[c.name] = open
		for _, name := range c.spec.GetDependsOn() {
			d := p.find(name)
			if d == nil {
				return fmt.Errorf("container %s depends on %q, which does not exist", c.name, name)
			}
			if err := visit(d); err != nil {
				return err
			}
		}
		state[c.name] = done
		return nil
	}
	for _, c := range p.containers {
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}

// argv is what the container runs: command replaces the image's ENTRYPOINT and, as in Kubernetes, its CMD with it;
// args replaces the CMD alone.
func (c *container) argv() []string {
	command, args := c.spec.GetCommand(), c.spec.GetArgs()
	if len(command) == 0 {
		command = c.config.Entrypoint
		if len(args) == 0 {
			args = c.config.Cmd
		}
	}
	return slices.Concat(command, args)
}

func (c *container) dir() string {
	return cmp.Or(c.spec.GetWorkingDir(), c.config.WorkingDir, "/")
}

// environ is the container's environment: the image's, over it the service's, over it the platform's. secret reads
// a secret's version. Variables that refer to others are not expanded, as on the platform.
func (c *container) environ(p *plan, secret func(name, version string) (string, error)) ([]string, error) {
	var env []string
	if p.rev.Template.GetExecutionEnvironment() == runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1 {
		// The first generation's sandbox starts from /home whatever the user's home is; what the image or the
		// service says stays. In the second the runtime reads /etc/passwd.
		env = append(env, "HOME=/home")
	}
	for _, e := range c.config.Env {
		env = setEnv(env, e)
	}
	for n, e := range c.spec.GetEnv() {
		value := e.GetValue()
		if ref := e.GetValueSource().GetSecretKeyRef(); ref != nil {
			var err error
			if value, err = secret(ref.GetSecret(), cmp.Or(ref.GetVersion(), "latest")); err != nil {
				return nil, &secretError{field: fmt.Sprintf("env[%d].value_from.secret_key_ref.name", n), err: err}
			}
		}
		env = setEnv(env, e.GetName()+"="+value)
	}
	if p.rev.Kind != Service {
		for _, e := range p.rev.Env {
			env = setEnv(env, e)
		}
		return env, nil
	}
	if c.ingress {
		env = setEnv(env, fmt.Sprintf("PORT=%d", p.port))
	}
	env = setEnv(env, "K_SERVICE="+p.rev.Service)
	env = setEnv(env, "K_REVISION="+p.rev.Name)
	return setEnv(env, "K_CONFIGURATION="+p.rev.Service), nil
}

// setEnv sets NAME=value in a list in which every name stands once.
func setEnv(env []string, entry string) []string {
	name, _, _ := strings.Cut(entry, "=")
	for i, e := range env {
		if n, _, _ := strings.Cut(e, "="); n == name {
			env[i] = entry
			return env
		}
	}
	return append(env, entry)
}

// isSet tells whether a variable is in a list.
func isSet(env []string, name string) bool {
	return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}
