package provision

import "time"

// InjectMethod is how the agent gets into the twin.
type InjectMethod string

// Methods of injection.
const (
	// InjectAuto is a layer, or a sidecar where the registry takes no push or the image no layer.
	InjectAuto InjectMethod = "auto"
	// InjectLayer appends one to the image, and pushes it beside it.
	InjectLayer InjectMethod = "layer"
	// InjectSidecar has a container of its own copy the agent to a volume in memory.
	InjectSidecar InjectMethod = "sidecar"
	// InjectNone is for images that contain the agent.
	InjectNone InjectMethod = "none"
)

// SecretRef is a version of a secret; "" means latest.
type SecretRef struct{ Secret, Version string }

// Overrides replace what the target has, as gcloud's flags of the same names do. Zero values replace nothing.
type Overrides struct {
	// ClearEnv removes the target's variables before SetEnv adds to them and replaces; RemoveEnv then removes.
	ClearEnv  bool
	SetEnv    map[string]string
	RemoveEnv []string
	// Secrets are variables, or files for names that begin with a slash, as in gcloud's --set-secrets.
	Secrets map[string]SecretRef
	// Command and Args are the app's, which the agent knows and cloudssh-app starts; nil keeps.
	Command, Args []string
	// CPU ("2", "500m") and Memory ("1Gi") are limits of the container that is entered.
	CPU, Memory, ServiceAccount string
	// ExecutionEnvironment is "gen1" or "gen2"; VPCEgress "all-traffic" or "private-ranges-only".
	ExecutionEnvironment, VPCEgress string
	// Timeout is of one request, and so of one connection, which the session survives.
	Timeout time.Duration
}

// Decision is what becomes of a field of the target in its twin.
type Decision string

// Decisions.
const (
	Copy   Decision = "copy"
	Change Decision = "change"
	Drop   Decision = "drop"
)

// Field is one field of the target, and what becomes of it.
type Field struct {
	// Path is the field's, containers and volumes by name: "template.containers.app.liveness_probe".
	Path     string   `json:"path"`
	Decision Decision `json:"decision"`
	Reason   string   `json:"reason"`
	// From and To are the values as the API writes them in JSON; "" where there is none. A value that may be a secret
	// does not occur: the platform holds references.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Differs reports whether the twin has another value there than the target.
func (f Field) Differs() bool { return f.From != f.To }

// Plan is a twin that could be made.
type Plan struct {
	Twin   Twin         `json:"-"`
	Inject InjectMethod `json:"inject"`
	Fields []Field      `json:"fields"` // all, in the order of their paths
}
