package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SettingsVariable is the environment variable that holds the Settings, as
// JSON. It is the agent's only one and is kept from sessions.
const SettingsVariable = "CLOUDSSH_AGENT"

// settingsVersion is the version of the JSON document.
const settingsVersion = 1

// Settings is what the client that made the twin tells its agent. There are no
// secrets in it: it stands in the service's specification.
type Settings struct {
	Version        int      `json:"version"`         // of this document: 1
	AuthorizedKeys []string `json:"authorized_keys"` // who may log in
	Expires        int64    `json:"expires"`         // end of the lease, unix seconds; 0: none
	IdleTimeout    int64    `json:"idle_timeout"`    // seconds without a connection; 0: no limit
	Grace          int64    `json:"grace"`           // seconds to the first connection; 0: no limit
	App            App      `json:"app"`
	Service        string   `json:"service"` // the service the twin was made from
	Twin           string   `json:"twin"`    // the twin's own name
	Reason         string   `json:"reason"`  // what the user gave as reason

	// Owner is the e-mail address of the account that made the twin: with a
	// verified token of that account any key may log in. Empty: keys only.
	Owner string `json:"owner"`
	// RequestTimeout is when the platform cuts a request, in seconds; 0: not known.
	RequestTimeout int64 `json:"request_timeout"`
	// Resource is the twin's name on the platform, projects/P/locations/R/services/T,
	// which is deleted when its lease ends. Empty: nothing is.
	Resource string `json:"resource"`
	// MinInstances is how many instances the platform keeps when no request is open.
	MinInstances int `json:"min_instances"`
}

// App is what the container would run without us.
type App struct {
	Entrypoint []string `json:"entrypoint"`
	Args       []string `json:"args"`
	Dir        string   `json:"dir"`  // working directory; "" means /
	User       string   `json:"user"` // as in the image's configuration
	Port       int      `json:"port"` // the port it serves on; 0: none known
}

// ParseSettings reads the value of SettingsVariable and checks what the agent
// cannot do without.
func ParseSettings(text string) (Settings, error) {
	var s Settings
	if text == "" {
		return s, fmt.Errorf("%s is not set: this program is started by cloudssh inside a twin, not by hand", SettingsVariable)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("parsing %s: %w", SettingsVariable, err)
	}
	if s.Version != settingsVersion {
		return s, fmt.Errorf("%s has version %d, want %d", SettingsVariable, s.Version, settingsVersion)
	}
	if _, err := s.keys(); err != nil {
		return s, fmt.Errorf("%s: %w", SettingsVariable, err)
	}
	if s.Expires < 0 || s.IdleTimeout < 0 || s.Grace < 0 {
		return s, fmt.Errorf("%s: expires, idle_timeout and grace must not be negative", SettingsVariable)
	}
	if s.RequestTimeout < 0 || s.MinInstances < 0 {
		return s, fmt.Errorf("%s: request_timeout and min_instances must not be negative", SettingsVariable)
	}
	if s.Resource != "" && !validResource(s.Resource) {
		return s, fmt.Errorf("%s: %q is not the name of a service", SettingsVariable, s.Resource)
	}
	if s.App.Port < 0 || s.App.Port > 65535 {
		return s, fmt.Errorf("%s: %d is not a port", SettingsVariable, s.App.Port)
	}
	return s, nil
}

// validResource keeps a name from leading a request with a token elsewhere. (No
// regular expression: its package would be a hundredth of the agent.)
func validResource(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) != 6 || parts[0] != "projects" || parts[2] != "locations" || parts[4] != "services" {
		return false
	}
	for _, part := range []string{parts[1], parts[3], parts[5]} {
		for i, c := range []byte(part) {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			// Domain-scoped projects are "example.com:project".
			if !letter && (i == 0 || !strings.ContainsRune("._:-", rune(c))) {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return true
}

// keys are the authorized keys in wire form.
func (s Settings) keys() (map[string]bool, error) {
	keys := make(map[string]bool, len(s.AuthorizedKeys))
	for i, line := range s.AuthorizedKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("parsing authorized key %d: %w", i+1, err)
		}
		keys[string(key.Marshal())] = true
	}
	if len(keys) == 0 {
		return nil, errors.New("no authorized keys")
	}
	return keys, nil
}

func (s Settings) expires() time.Time {
	if s.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(s.Expires, 0)
}

// workingDir is the directory the container would run in without us.
func (a App) workingDir() string { return cmp.Or(a.Dir, "/") }

// dir is the directory sessions start in, and what to tell the user if it is
// not the app's.
func (a App) dir() (dir, note string) {
	dir = a.workingDir()
	switch info, err := os.Stat(dir); {
	case err != nil:
		return "/", fmt.Sprintf("the app's directory %s cannot be used (%v); starting in /", dir, errors.Unwrap(err))
	case !info.IsDir():
		return "/", fmt.Sprintf("the app's directory %s is not a directory; starting in /", dir)
	}
	return dir, ""
}
