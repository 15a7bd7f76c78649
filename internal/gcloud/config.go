// Package gcloud reads what the user has set up for Google Cloud, the way the
// gcloud command does: project, region and account from flags, environment
// and configuration files, and credentials from wherever they are.
package gcloud

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Property names one setting, as `gcloud config set` does.
type Property string

// The properties that Load reads.
const (
	Project        Property = "core/project"
	Account        Property = "core/account"
	RunRegion      Property = "run/region"
	Impersonate    Property = "auth/impersonate_service_account"
	TokenFile      Property = "auth/access_token_file" //nolint:gosec // a name, no credentials
	RunEndpoint    Property = "api_endpoint_overrides/run"
	BillingProject Property = "billing/quota_project"

	computeRegion  Property = "compute/region"
	disablePrompts Property = "core/disable_prompts"
	configuration  Property = "configuration" // none of gcloud's, but it has a source too
)

// Flags are the command line's settings; empty ones were not given.
type Flags struct{ Project, Region, Account, Configuration, Impersonate string }

// Config is what applies, from flags, environment and configuration files.
type Config struct {
	Project                   string
	Region                    string // run/region, else compute/region
	Account                   string
	ImpersonateServiceAccount string // may be a chain, "delegate,target"
	AccessTokenFile           string
	RunEndpoint               string // api_endpoint_overrides/run
	QuotaProject              string
	DisablePrompts            bool
	Configuration             string // name of the active configuration
	Dir                       string // gcloud's configuration directory

	sources map[Property]string
}

// Source says where a property came from, for messages: `--project`,
// `CLOUDSDK_CORE_PROJECT`, `configuration "work"`. It is empty for an unset one.
func (c Config) Source(p Property) string { return c.sources[p] }

// Error is an error with a remedy.
type Error struct {
	Err   error
	hints []string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hints returns what to try, most promising first: commands, or sentences.
func (e *Error) Hints() []string { return e.hints }

// Load reads the settings. env is os.Getenv, or a test's; nothing else of the
// environment is looked at.
func Load(_ context.Context, f Flags, env func(string) string) (Config, error) {
	l := loader{env: env, c: Config{Dir: configDir(env), sources: make(map[Property]string)}}
	if err := l.active(f.Configuration); err != nil {
		return Config{}, err
	}
	if err := l.files(); err != nil {
		return Config{}, err
	}
	c := &l.c
	c.Project = l.get(Project, f.Project, "--project", "GOOGLE_CLOUD_PROJECT")
	c.Account = l.get(Account, f.Account, "--account")
	c.ImpersonateServiceAccount = l.get(Impersonate, f.Impersonate, "--impersonate-service-account")
	c.Region = l.get(RunRegion, f.Region, "--region")
	if c.Region == "" {
		c.Region = l.get(computeRegion, "", "")
		c.sources[RunRegion] = c.sources[computeRegion]
	}
	c.AccessTokenFile = l.get(TokenFile, "", "")
	c.RunEndpoint = l.get(RunEndpoint, "", "")
	c.QuotaProject = l.get(BillingProject, "", "")
	c.DisablePrompts = truthy(l.get(disablePrompts, "", ""))
	return *c, nil
}

// loader holds the places that settings come from.
type loader struct {
	env          func(string) string
	c            Config
	user         map[Property]string // the active configuration
	installation map[Property]string
}

// configDir is gcloud's configuration directory.
func configDir(env func(string) string) string {
	if dir := env("CLOUDSDK_CONFIG"); dir != "" {
		return dir
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(env("APPDATA"), "gcloud")
	}
	return filepath.Join(env("HOME"), ".config", "gcloud")
}

// noConfiguration is the reserved name that means no configuration at all.
const noConfiguration = "NONE"

// active finds the name of the active configuration: flag, environment,
// active_config, default.
func (l *loader) active(flag string) error {
	name, source := flag, "--configuration"
	if name == "" {
		name, source = l.env("CLOUDSDK_ACTIVE_CONFIG_NAME"), "CLOUDSDK_ACTIVE_CONFIG_NAME"
	}
	if name == "" {
		b, err := os.ReadFile(filepath.Join(l.c.Dir, "active_config"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading gcloud's active configuration: %w", err)
		}
		name, source = strings.TrimSpace(string(b)), "active_config"
	}
	if name == "" {
		name, source = "default", ""
	}
	if name != noConfiguration && !regexp.MustCompile(`^[a-z][-a-z0-9]*$`).MatchString(name) {
		return fmt.Errorf("%s: %q is no name of a configuration", source, name)
	}
	l.c.Configuration, l.c.sources[configuration] = name, source
	return nil
}

// files reads the active configuration and the installation's properties.
func (l *loader) files() error {
	if root := sdkRoot(l.env); root != "" {
		var err error
		if l.installation, err = readProperties(filepath.Join(root, "properties")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if l.c.Configuration == noConfiguration {
		return nil
	}
	var err error
	l.user, err = readProperties(filepath.Join(l.c.Dir, "configurations", "config_"+l.c.Configuration))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch source := l.c.sources[configuration]; source {
	case "--configuration", "CLOUDSDK_ACTIVE_CONFIG_NAME":
		return &Error{
			Err:   fmt.Errorf("%s: there is no configuration %q in %s", source, l.c.Configuration, l.c.Dir),
			hints: []string{"gcloud config configurations list"},
		}
	}
	return nil // a new installation has none
}

// get looks a property up: flag, CLOUDSDK_<SECTION>_<NAME>, more of the
// environment, the active configuration, the installation.
func (l *loader) get(p Property, flag, flagName string, more ...string) string {
	found := func(value, source string) string {
		l.c.sources[p] = source
		return value
	}
	if flag != "" {
		return found(flag, flagName)
	}
	for _, name := range append([]string{p.variable()}, more...) {
		if v := l.env(name); v != "" {
			return found(v, name)
		}
	}
	if v := l.user[p]; v != "" {
		return found(v, fmt.Sprintf("configuration %q", l.c.Configuration))
	}
	if v := l.installation[p]; v != "" {
		return found(v, "the installation's properties")
	}
	return ""
}

// variable is the environment variable that gcloud reads a property from.
func (p Property) variable() string {
	return "CLOUDSDK_" + strings.ToUpper(strings.ReplaceAll(string(p), "/", "_"))
}

// truthy is how gcloud reads a boolean property.
func truthy(v string) bool {
	switch strings.ToLower(v) {
	case "1", "true", "on", "yes", "y":
		return true
	}
	return false
}

// readProperties reads a properties file.
func readProperties(name string) (map[Property]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading gcloud's configuration: %w", err)
	}
	m, err := parseProperties(b)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return m, nil
}

// parseProperties reads the dialect of INI that gcloud writes: Python's
// configparser, of which continuation lines and interpolation do not occur.
func parseProperties(b []byte) (map[Property]string, error) {
	m := make(map[Property]string)
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			end := strings.IndexByte(line, ']')
			if end < 0 {
				return nil, fmt.Errorf("line %d: a section without its ]", n)
			}
			section = line[1:end]
		default:
			i := strings.IndexAny(line, "=:")
			if i < 0 || section == "" {
				return nil, fmt.Errorf("line %d: neither a section nor a property in one", n)
			}
			key := strings.ToLower(strings.TrimSpace(line[:i]))
			m[Property(section+"/"+key)] = strings.TrimSpace(line[i+1:])
		}
	}
	return m, lines.Err()
}

// lookGcloud finds the gcloud command; empty when there is none.
func lookGcloud(env func(string) string) string {
	name := "gcloud"
	if runtime.GOOS == "windows" {
		name = "gcloud.cmd"
	}
	for _, dir := range filepath.SplitList(env("PATH")) {
		if !filepath.IsAbs(dir) {
			continue // as os/exec: never a program of the current directory
		}
		path := filepath.Join(dir, name)
		i, err := os.Stat(path)
		if err == nil && i.Mode().IsRegular() && (runtime.GOOS == "windows" || i.Mode()&0o111 != 0) {
			return path
		}
	}
	return ""
}

// sdkRoot is the directory that gcloud is installed in; empty when unknown.
func sdkRoot(env func(string) string) string {
	path := lookGcloud(env)
	if path == "" {
		return ""
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil || filepath.Base(filepath.Dir(target)) != "bin" {
		return ""
	}
	return filepath.Dir(filepath.Dir(target))
}
