//go:build linux || darwin

package sftp

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxPath  = 4096
	maxLinks = 40 // to follow in one path, as Linux
)

func (s *server) realpath(name string) job {
	return job{order: looks, run: func(m *message) error {
		path, err := s.resolve(name)
		if err != nil {
			return err
		}
		m.name(path)
		return nil
	}}
}

// resolve makes a name absolute and free of links, dots and double slashes. The
// last part need not exist: clients ask before they create.
func (s *server) resolve(name string) (string, error) {
	if name == "" {
		name = "."
	}
	rest := s.path(name)
	done := ""
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done = done[:max(0, strings.LastIndexByte(done, '/'))]
			continue
		}
		next := done + "/" + part
		if len(next) >= maxPath {
			return "", syscall.ENAMETOOLONG
		}
		var st unix.Stat_t
		err := unix.Lstat(next, &st)
		last := strings.Trim(rest, "/") == ""
		switch {
		case errors.Is(err, syscall.ENOENT) && last:
			return next, nil
		case err != nil:
			return "", err
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			target, err := readlink(next)
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", syscall.ELOOP
			}
			if strings.HasPrefix(target, "/") {
				done = ""
			}
			if rest != "" {
				target += "/" + rest
			}
			rest = target
		case st.Mode&unix.S_IFMT != unix.S_IFDIR && !last:
			return "", syscall.ENOTDIR
		default:
			done = next
		}
	}
	if done == "" {
		return "/", nil
	}
	return done, nil
}

// expandPath is realpath for names with a tilde.
func (s *server) expandPath(name string) job {
	return job{order: looks, run: func(m *message) error {
		if strings.HasPrefix(name, "~") {
			user, rest, _ := strings.Cut(name[1:], "/")
			home, ok := s.homeOf(user)
			if !ok {
				return status{fxNoSuchFile, "No such user"}
			}
			name = home + "/" + rest
		}
		path, err := s.resolve(name)
		if err != nil {
			return err
		}
		m.name(path)
		return nil
	}}
}

func (s *server) homeDirectory(user string) job {
	return job{order: looks, run: func(m *message) error {
		home, ok := s.homeOf(user)
		if !ok {
			return status{fxFailure, "No such user"}
		}
		m.name(home)
		return nil
	}}
}

// homeOf is a user's home directory; no name means the one served.
func (s *server) homeOf(user string) (string, bool) {
	if user == "" {
		return s.home, true
	}
	return s.accounts.home(user)
}
