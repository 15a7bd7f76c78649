package serving

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/cloudssh/cloudssh/internal/emulator/runtime"
)

// ErrExists is returned by Deploy for a revision that was deployed already.
var ErrExists = errors.New("revision exists")

// ErrRemoved is returned by Deploy for a revision that is removed while it is being deployed, and after Close.
var ErrRemoved = errors.New("revision was removed")

// A DeployError says why a revision cannot serve traffic, in the platform's words. Its reason is that of
// the Common and Revision fields that is not 0.
type DeployError struct {
	Condition string // the type of the condition that failed: "ContainerHealthy", ...
	Common    runpb.Condition_CommonReason
	Revision  runpb.Condition_RevisionReason
	Message   string
	Err       error // the cause
}

func (e *DeployError) Error() string { return e.Message }

func (e *DeployError) Unwrap() error { return e.Err }

// Fail makes a condition say this error: state, severity, reason and message.
func (e *DeployError) Fail(c *runpb.Condition) {
	c.State = runpb.Condition_CONDITION_FAILED
	c.Severity = runpb.Condition_ERROR
	c.Message = e.Message
	switch {
	case e.Revision != 0:
		c.Reasons = &runpb.Condition_RevisionReason_{RevisionReason: e.Revision}
	case e.Common != 0:
		c.Reasons = &runpb.Condition_Reason{Reason: e.Common}
	}
}

// The conditions of a revision.
const (
	condReady     = "Ready"
	condImage     = "ContainerReady"
	condResources = "ResourcesAvailable"
	condHealthy   = "ContainerHealthy"
	condActive    = "Active"
)

// An imageError is an image that cannot be had or cannot run here.
type imageError struct {
	ref string
	err error
}

func (e *imageError) Error() string { return fmt.Sprintf("pulling %s: %v", e.ref, e.err) }
func (e *imageError) Unwrap() error { return e.err }

// errPlatform is an image for other machines.
var errPlatform = errors.New("must support amd64/linux")

// A secretError is a secret that a container cannot have.
type secretError struct {
	field string
	err   error
}

func (e *secretError) Error() string { return e.field + ": " + e.err.Error() }
func (e *secretError) Unwrap() error { return e.err }

// A secretVersionError names the version that could not be read.
type secretVersionError struct {
	name, version string
	err           error
}

func (e *secretVersionError) Error() string {
	return fmt.Sprintf("reading version %s of secret %s: %v", e.version, e.name, e.err)
}
func (e *secretVersionError) Unwrap() error { return e.err }

// An ExitError is a container that ended by itself.
type ExitError struct {
	Container string
	Exit      runtime.Exit
}

func (e *ExitError) Error() string { return fmt.Sprintf("container %s ended: %v", e.Container, e.Exit) }

// A probeError is a container that failed its probe as often as it may.
type probeError struct {
	container string
	probe     *probe
	err       error
}

func (e *probeError) Error() string {
	return fmt.Sprintf("%s probe of container %s failed: %v", e.probe.kind, e.container, e.err)
}
func (e *probeError) Unwrap() error { return e.err }

// deployError puts what went wrong into the platform's words.
func (r *revision) deployError(err error) *DeployError {
	e := &DeployError{Err: err}
	var image *imageError
	var secret *secretError
	switch {
	case errors.As(err, &image):
		r.imageFailure(e, image)
	case errors.As(err, &secret):
		e.Condition = condResources
		e.Common = runpb.Condition_SECRETS_ACCESS_CHECK_FAILED
		e.Message = r.notReady() + r.secretMessage(secret)
	case isContainerFault(err):
		e.Condition = condHealthy
		e.Revision = runpb.Condition_HEALTH_CHECK_CONTAINER_ERROR
		e.Message = r.notReady() + r.healthMessage(err)
	default:
		e.Common = runpb.Condition_INTERNAL
		e.Message = r.notReady() + "The emulator could not run it: " + err.Error() + "."
	}
	return e
}

// isContainerFault tells the user's container from the emulator.
func isContainerFault(err error) bool {
	var start *runtime.StartError
	var exit *ExitError
	var probe *probeError
	return errors.As(err, &start) || errors.As(err, &exit) || errors.As(err, &probe)
}

func (r *revision) notReady() string {
	return fmt.Sprintf("Revision '%s' is not ready and cannot serve traffic. ", r.rev.Name)
}

func (r *revision) imageFailure(e *DeployError, image *imageError) {
	e.Condition = condImage
	var reg *transport.Error
	errors.As(image.err, &reg)
	switch {
	case errors.Is(image.err, errPlatform) || strings.Contains(image.err.Error(), "no child with platform"):
		// Nothing in the enumeration fits better than "missing": there is no such image for this platform.
		e.Common = runpb.Condition_CONTAINER_MISSING
		e.Message = r.notReady() + fmt.Sprintf("Cloud Run does not support image '%s': Container manifest must support amd64/linux.", image.ref)
	case errors.Is(image.err, fs.ErrNotExist) || reg != nil && reg.StatusCode == http.StatusNotFound:
		e.Common = runpb.Condition_CONTAINER_MISSING
		e.Message = r.notReady() + fmt.Sprintf("Image '%s' not found.", image.ref)
	case errors.Is(image.err, fs.ErrPermission) || reg != nil && (reg.StatusCode == http.StatusUnauthorized || reg.StatusCode == http.StatusForbidden):
		e.Common = runpb.Condition_CONTAINER_PERMISSION_DENIED
		e.Message = r.notReady() + fmt.Sprintf("Google Cloud Run Service Agent service-%s@serverless-robot-prod.iam.gserviceaccount.com "+
			"must have permission to read the image, %s. Ensure that the provided container image URL is correct and that the above account "+
			"has permission to access the image.", r.rev.ProjectNumber, image.ref)
	default:
		e.Common = runpb.Condition_INTERNAL
		e.Message = r.notReady() + fmt.Sprintf("The emulator could not pull image '%s': %v.", image.ref, image.err)
	}
}

func (r *revision) secretMessage(e *secretError) string {
	var v *secretVersionError
	if !errors.As(e.err, &v) {
		return e.Error()
	}
	name := v.name
	if !strings.Contains(name, "/") {
		name = "projects/" + r.rev.ProjectNumber + "/secrets/" + name
	}
	name += "/versions/" + v.version
	if errors.Is(v.err, fs.ErrNotExist) {
		return fmt.Sprintf("spec.template.spec.%s: Secret %s was not found", e.field, name)
	}
	return fmt.Sprintf("spec.template.spec.%s: Permission denied on secret: %s for Revision service account %s. "+
		"The service account used must be granted the 'Secret Manager Secret Accessor' role (roles/secretmanager.secretAccessor) "+
		"at the secret, project or higher level.", e.field, name, r.rev.Template.GetServiceAccount())
}

func (r *revision) healthMessage(err error) string {
	if r.rev.Kind != Service {
		return "The container could not be started: " + err.Error() + "."
	}
	var p *probeError
	text := fmt.Sprintf("The user-provided container failed to start and listen on the port defined provided by the PORT=%d "+
		"environment variable within the allocated timeout. This can happen when the container port is misconfigured or if the "+
		"timeout is too short. The health check timeout can be extended.", r.plan.port)
	if errors.As(err, &p) && !p.probe.implicit {
		text = "The user-provided container failed the configured startup probe checks."
	}
	text += " Logs for this revision might contain more information."
	if r.rev.LogURI != "" {
		text += "\n\nLogs URL: " + r.rev.LogURI
	}
	return text + "\nFor more troubleshooting guidance, see https://cloud.google.com/run/docs/troubleshooting#container-failed-to-start"
}
