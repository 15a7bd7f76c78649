package cloudrun

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

const (
	maxEnv     = 1000  // variables of a container
	maxEnvName = 32768 // characters
	maxArgs    = 1000  // of a container
	minTimeout = time.Second
)

var (
	emailSyntax   = regexp.MustCompile(`^[^@\s/]+@[^@\s/]+\.[^@\s/]+$`)
	secretSyntax  = regexp.MustCompile(`^(projects/[^/]+/secrets/)?[A-Za-z0-9_-]{1,255}$`)
	versionSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`) // a number, latest, or an alias
)

// FieldError is a value that Cloud Run does not take.
type FieldError struct {
	// Field is the API's: "template.timeout"; of containers those without an index concern the one that is entered.
	Field string
	// Flag is gcloud's name of what set it, "" when it came with the service.
	Flag string
	// Problem says what is wrong, and what would be right.
	Problem string
}

func (e *FieldError) Error() string {
	if e.Flag == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Flag + ": " + e.Problem
}

func fieldError(field, flag, format string, args ...any) error {
	return &FieldError{Field: field, Flag: flag, Problem: fmt.Sprintf(format, args...)}
}

// Validate checks what can be checked of overrides without their target: all of what is wrong, FieldErrors joined. Derive
// checks the rest.
func Validate(o provision.Overrides) error {
	var all []error
	all = append(all, validateResources(o), validateEnv(o), validateSecrets(o))
	const template = "template."
	if len(o.Command) > 0 && o.Command[0] == "" {
		all = append(all, fieldError("template.containers.command", "--command", "the program has no name"))
	}
	if n := len(o.Args); n > maxArgs {
		all = append(all, fieldError("template.containers.args", "--args", "%d arguments are possible, not %d", maxArgs, n))
	}
	if a := o.ServiceAccount; a != "" && !emailSyntax.MatchString(a) {
		all = append(all, fieldError(template+"service_account", "--service-account", "%q is not the e-mail address of a service account", a))
	}
	if e := o.ExecutionEnvironment; e != "" && environment(e) == 0 {
		all = append(all, fieldError(template+"execution_environment", "--execution-environment", "%q is not gen1 or gen2", e))
	}
	if e := o.VPCEgress; e != "" && egress(e) == 0 {
		all = append(all, fieldError(template+"vpc_access.egress", "--vpc-egress", "%q is not all-traffic or private-ranges-only", e))
	}
	if t := o.Timeout; t != 0 && (t < minTimeout || t > connectionLife) {
		all = append(all, fieldError(template+"timeout", "--timeout", "%s is not from 1s to 3600s", t))
	}
	return errors.Join(all...)
}

func environment(s string) runpb.ExecutionEnvironment {
	switch s {
	case "gen1":
		return runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN1
	case "gen2":
		return runpb.ExecutionEnvironment_EXECUTION_ENVIRONMENT_GEN2
	}
	return 0
}

func egress(s string) runpb.VpcAccess_VpcEgress {
	switch s {
	case "all-traffic":
		return runpb.VpcAccess_ALL_TRAFFIC
	case "private-ranges-only":
		return runpb.VpcAccess_PRIVATE_RANGES_ONLY
	}
	return 0
}

// envFlag is gcloud's flag that sets variables.
func envFlag(o provision.Overrides) string {
	if o.ClearEnv {
		return "--set-env-vars"
	}
	return "--update-env-vars"
}

func validateEnv(o provision.Overrides) error {
	const field = "template.containers.env"
	var all []error
	for _, name := range slices.Sorted(maps.Keys(o.SetEnv)) {
		all = append(all, checkEnvName(field, envFlag(o), name))
		if n := len(o.SetEnv[name]); n > maxEnvValue {
			all = append(all, fieldError(field+".value", envFlag(o), "the value of %s has %d bytes, %d are possible", name, n, maxEnvValue))
		}
		if _, both := o.Secrets[name]; both {
			all = append(all, fieldError(field, envFlag(o), "%s is in --set-secrets too", name))
		}
	}
	if slices.Contains(o.RemoveEnv, "") {
		all = append(all, fieldError(field+".name", "--remove-env-vars", "a variable has no name"))
	}
	return errors.Join(all...)
}

func checkEnvName(field, flag, name string) error {
	switch {
	case name == "":
		return fieldError(field+".name", flag, "a variable has no name")
	case reserved(name):
		return fieldError(field, flag, "environment variable %q is the platform's and cannot be set", name)
	case strings.ContainsAny(name, "=\x00"):
		return fieldError(field+".name", flag, "the name %q has '=' or a zero byte in it", name)
	case utf8.RuneCountInString(name) > maxEnvName:
		return fieldError(field+".name", flag, "the name %.20q... has more than %d characters", name, maxEnvName)
	}
	return nil
}

// isFile tells names of files from those of variables in --set-secrets.
func isFile(name string) bool { return strings.HasPrefix(name, "/") }

func validateSecrets(o provision.Overrides) error {
	const flag = "--set-secrets"
	var all []error
	secrets := map[string]string{} // by directory
	for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
		ref := o.Secrets[name]
		field := "template.containers.env.value_source.secret_key_ref"
		if isFile(name) {
			field = "template.volumes.secret"
			dir := path.Dir(path.Clean(name))
			all = append(all, checkMountPath(flag, name, dir))
			if was, ok := secrets[dir]; ok && was != ref.Secret {
				all = append(all, fieldError("template.containers.volume_mounts.mount_path", flag, "%s holds the secret %s already: a directory holds one", dir, was))
			}
			secrets[dir] = ref.Secret
		} else {
			all = append(all, checkEnvName("template.containers.env", flag, name))
		}
		if !secretSyntax.MatchString(ref.Secret) {
			all = append(all, fieldError(field+".secret", flag, "%q is not a secret's name or projects/PROJECT/secrets/NAME", ref.Secret))
		}
		if v := ref.Version; v != "" && !versionSyntax.MatchString(v) {
			all = append(all, fieldError(field+".version", flag, "%q is not a version's number or latest", v))
		}
	}
	return errors.Join(all...)
}

// checkMountPath refuses directories that the platform does not let volumes be mounted at.
func checkMountPath(flag, name, dir string) error {
	const field = "template.containers.volume_mounts.mount_path"
	if strings.HasSuffix(name, "/") {
		return fieldError(field, flag, "%s is not the path of a file", name)
	}
	if dir == "/" || strings.Contains(dir, ":") {
		return fieldError(field, flag, "%s: a secret needs a directory of its own, such as /secrets%s", name, path.Clean(name))
	}
	for _, taken := range []string{"/dev", "/proc", "/sys", agentDir()} {
		if dir == taken || strings.HasPrefix(dir, taken+"/") {
			return fieldError(field, flag, "%s: nothing can be mounted at %s or under it", name, taken)
		}
	}
	return nil
}

// secretVariable refers to a secret.
func secretVariable(name string, ref provision.SecretRef) *runpb.EnvVar {
	return &runpb.EnvVar{Name: name, Values: &runpb.EnvVar_ValueSource{ValueSource: &runpb.EnvVarSource{
		SecretKeyRef: &runpb.SecretKeySelector{Secret: ref.Secret, Version: versionOf(ref)},
	}}}
}

func versionOf(ref provision.SecretRef) string {
	if ref.Version == "" {
		return "latest"
	}
	return ref.Version
}

// overrideTemplate sets what the user asks for outside the containers.
func (d *deriver) overrideTemplate(t *runpb.RevisionTemplate) {
	o := d.spec.Overrides
	if o.ServiceAccount != "" {
		t.ServiceAccount = o.ServiceAccount
	}
	if o.ExecutionEnvironment != "" {
		t.ExecutionEnvironment = environment(o.ExecutionEnvironment)
	}
	if o.VPCEgress != "" && t.VpcAccess != nil { // else check refuses
		t.VpcAccess.Egress = egress(o.VPCEgress)
	}
}

// mountSecrets gives the container that is entered the files of --set-secrets, instead of those it has, as gcloud does.
func (d *deriver) mountSecrets(t *runpb.RevisionTemplate, c *runpb.Container) error {
	secrets := d.spec.Overrides.Secrets
	if len(secrets) == 0 {
		return nil
	}
	c.VolumeMounts = slices.DeleteFunc(c.GetVolumeMounts(), func(m *runpb.VolumeMount) bool {
		return slices.ContainsFunc(t.GetVolumes(), func(v *runpb.Volume) bool { return v.GetName() == m.GetName() && v.GetSecret() != nil })
	})
	at := map[string]*runpb.SecretVolumeSource{} // by directory
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if !isFile(name) {
			continue
		}
		dir, file := path.Dir(path.Clean(name)), path.Base(path.Clean(name))
		if at[dir] == nil {
			if taken := slices.IndexFunc(c.GetVolumeMounts(), func(m *runpb.VolumeMount) bool { return path.Clean(m.GetMountPath()) == dir }); taken >= 0 {
				return fieldError("template.containers.volume_mounts.mount_path", "--set-secrets", "the volume %s is mounted at %s",
					c.GetVolumeMounts()[taken].GetName(), dir)
			}
			at[dir] = &runpb.SecretVolumeSource{Secret: secrets[name].Secret}
			volume := freeName("cloudssh-secret", append(volumeNames(t.GetVolumes()), volumeNames(d.rev.GetVolumes())...))
			t.Volumes = append(t.Volumes, &runpb.Volume{Name: volume, VolumeType: &runpb.Volume_Secret{Secret: at[dir]}})
			c.VolumeMounts = append(c.VolumeMounts, &runpb.VolumeMount{Name: volume, MountPath: dir})
		}
		at[dir].Items = append(at[dir].Items, &runpb.VersionToPath{Path: file, Version: versionOf(secrets[name])})
	}
	return nil
}
