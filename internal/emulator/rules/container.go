package rules

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"

	"cloud.google.com/go/run/apiv2/runpb"
)

const (
	maxArgs     = 1000
	maxEnv      = 1000
	maxEnvName  = 32768 // characters
	maxEnvValue = 32768 // bytes
	maxName     = 63
)

func (c *checker) containers(t *runpb.RevisionTemplate) {
	const at = "template.containers"
	containers := t.GetContainers()
	if len(containers) == 0 {
		c.malformed(at, "should contain at least one container.")
		return
	}
	if len(containers) > maxContainers {
		c.malformed(at, "should contain at most %d containers, contains %d.", maxContainers, len(containers))
	}
	c.containerNames(containers)
	c.exposedPort(containers)
	for i, k := range containers {
		c.container(index(at, i), k, t.GetVolumes(), len(containers) == 1 || len(k.GetPorts()) > 0)
	}
	c.dependencies(containers)
}

// container checks one container; ingress tells whether it is the one that requests go to.
func (c *checker) container(at string, k *runpb.Container, volumes []*runpb.Volume, ingress bool) {
	c.image(at+".image", k.GetImage())
	if len(k.GetArgs()) > maxArgs {
		c.malformed(at+".args", "should contain at most %d arguments, contains %d.", maxArgs, len(k.GetArgs()))
	}
	c.env(at+".env", k.GetEnv(), ingress)
	c.ports(at+".ports", k.GetPorts())
	c.mounts(at+".volume_mounts", k.GetVolumeMounts(), volumes)
	c.probe(at+".startup_probe", k.GetStartupProbe(), startupLimits())
	c.probe(at+".liveness_probe", k.GetLivenessProbe(), livenessLimits())
	c.probe(at+".readiness_probe", k.GetReadinessProbe(), readinessLimits())
}

func (c *checker) image(at, image string) {
	if image == "" {
		c.malformed(at, "should be non-empty.")
		return
	}
	if _, err := name.ParseReference(image); err != nil {
		c.malformed(at, "must be a container image path in the form [hostname/]repo-path[:tag and/or @digest]")
	}
}

// containerNames lets a container go unnamed: the platform then names it.
func (c *checker) containerNames(containers []*runpb.Container) {
	seen := map[string]bool{}
	for i, k := range containers {
		at := index("template.containers", i) + ".name"
		switch n := k.GetName(); {
		case n == "":
		case len(n) > maxName || !subdomain.MatchString(n):
			c.refused(at, "Invalid container name '%s'. Must conform to RFC 1123: only lowercase letters, digits, hyphens, "+
				"and periods are allowed, must begin and end with a letter or digit, and be less than 64 characters", n)
		case seen[n]:
			c.refused(at, "Container name '%s' is used by more than one container.", n)
		}
		seen[k.GetName()] = true
	}
}

func (c *checker) ports(at string, ports []*runpb.ContainerPort) {
	if len(ports) > 1 {
		c.malformed(at, "ports should contain 0 or 1 port.")
	}
	for i, p := range ports {
		if n := p.GetContainerPort(); n < 0 || n > 65535 {
			c.malformed(index(at, i)+".container_port", "should be between 1 and 65535.")
		}
		if n := p.GetName(); n != "" && n != "http1" && n != "h2c" {
			c.malformed(index(at, i)+".name", "should be http1 or h2c.")
		}
	}
}

// exposedPort: a lone container gets port 8080 when it names none. With
// sidecars nothing is filled in, so one container must give its number.
func (c *checker) exposedPort(containers []*runpb.Container) {
	if len(containers) == 1 {
		return
	}
	exposed := 0
	for i, k := range containers {
		if len(k.GetPorts()) == 0 {
			continue
		}
		exposed++
		if k.GetPorts()[0].GetContainerPort() == 0 {
			c.refused(index("template.containers", i)+".ports[0].container_port",
				"The port must be specified when there is more than one container.")
		}
	}
	if exposed != 1 {
		c.refused("template.containers", "Revision template should contain exactly one container with an exposed port.")
	}
}

// env refuses the names that the platform sets itself. PORT it sets for the ingress container only; Google's own sample of
// a service with a sidecar sets it for the sidecar: https://docs.cloud.google.com/run/docs/internet-proxy-nginx-sidecar.
func (c *checker) env(at string, env []*runpb.EnvVar, ingress bool) {
	if len(env) > maxEnv {
		c.malformed(at, "should contain at most %d environment variables, contains %d.", maxEnv, len(env))
	}
	var taken, twice []string
	seen := map[string]bool{}
	for i, e := range env {
		c.envVar(index(at, i), e)
		switch n := e.GetName(); {
		case ingress && n == "PORT", n == "K_SERVICE", n == "K_REVISION", n == "K_CONFIGURATION":
			taken = append(taken, n)
		case seen[n]:
			twice = append(twice, n)
		}
		seen[e.GetName()] = true
	}
	if len(taken) > 0 {
		c.refused(at, "The following reserved env names were provided: %s. These values are automatically set by the system.",
			strings.Join(taken, ", "))
	}
	if len(twice) > 0 {
		c.refused(at, "The following env names were provided more than once: %s.", strings.Join(twice, ", "))
	}
}

func (c *checker) envVar(at string, e *runpb.EnvVar) {
	switch n := e.GetName(); {
	case n == "":
		c.malformed(at+".name", "should be non-empty.")
	case utf8.RuneCountInString(n) > maxEnvName:
		c.malformed(at+".name", "should have at most %d characters.", maxEnvName)
	case strings.ContainsAny(n, "=\x00"):
		c.malformed(at+".name", "should not contain '='.")
	}
	if len(e.GetValue()) > maxEnvValue {
		c.malformed(at+".value", "should have at most %d bytes.", maxEnvValue)
	}
	if s := e.GetValueSource(); s != nil && s.GetSecretKeyRef().GetSecret() == "" {
		c.malformed(at+".value_source.secret_key_ref.secret", "should be non-empty.")
	}
}

// dependencies checks depends_on: names that exist, that can be waited for, and
// that lead in no circle.
func (c *checker) dependencies(containers []*runpb.Container) {
	byName := map[string]*runpb.Container{}
	for _, k := range containers {
		if k.GetName() != "" {
			byName[k.GetName()] = k
		}
	}
	whole := true
	for i, k := range containers {
		at := index("template.containers", i) + ".depends_on"
		for _, n := range k.GetDependsOn() {
			switch on := byName[n]; {
			case on == nil:
				c.refused(at, "Dependent container '%s' does not exist", n)
				whole = false
			case on == k:
				c.refused(at, "Container '%s' cannot depend on itself", n)
				whole = false
			case on.GetStartupProbe() == nil:
				c.refused(at, "Dependent container '%s' must have startup probe specified", n)
			}
		}
	}
	if circle := findCircle(containers, byName); whole && circle != nil {
		c.refused("template.containers", "Container dependencies contain a cycle: %s", strings.Join(circle, " -> "))
	}
}

// findCircle returns the names along one circle of dependencies, its first name
// repeated at the end; nil when there is none.
func findCircle(containers []*runpb.Container, byName map[string]*runpb.Container) []string {
	done := map[*runpb.Container]bool{}
	var trail []string
	var walk func(k *runpb.Container) []string
	walk = func(k *runpb.Container) []string {
		if k == nil || done[k] {
			return nil
		}
		if at := slices.Index(trail, k.GetName()); at >= 0 && k.GetName() != "" {
			return append(slices.Clone(trail[at:]), k.GetName())
		}
		trail = append(trail, k.GetName())
		for _, n := range k.GetDependsOn() {
			if circle := walk(byName[n]); circle != nil {
				return circle
			}
		}
		trail = trail[:len(trail)-1]
		done[k] = true
		return nil
	}
	for _, k := range containers {
		if circle := walk(k); circle != nil {
			return circle
		}
	}
	return nil
}
