package runtime

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// validName matches what can be part of a path, of a control group and of an OCI container's ID.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

func (s SandboxSpec) validate() error {
	if !validName.MatchString(s.ID) {
		return fmt.Errorf("sandbox ID %q does not match %s", s.ID, validName)
	}
	return nil
}

func (c Container) validate() error {
	if !validName.MatchString(c.Name) {
		return fmt.Errorf("container name %q does not match %s", c.Name, validName)
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return errors.New("no command: neither the image nor the container names one")
	}
	for _, m := range c.Mounts {
		if err := m.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (m Mount) validate() error {
	switch {
	case !path.IsAbs(m.Destination) || path.Clean(m.Destination) == "/":
		return fmt.Errorf("mount path %q is not an absolute path below /", m.Destination)
	case m.Kind != Tmpfs && m.Kind != Bind:
		return fmt.Errorf("mount %s is of unknown kind %q", m.Destination, m.Kind)
	case m.Kind == Bind && !strings.HasPrefix(m.Source, "/"):
		return fmt.Errorf("mount %s: source %q is not an absolute path", m.Destination, m.Source)
	case m.Shared != "" && !validName.MatchString(m.Shared):
		return fmt.Errorf("mount %s: volume name %q does not match %s", m.Destination, m.Shared, validName)
	case m.SubPath != "" && (m.Shared == "" || !filepath.IsLocal(m.SubPath)):
		return fmt.Errorf("mount %s: %q is not a directory of a shared volume", m.Destination, m.SubPath)
	}
	return nil
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
