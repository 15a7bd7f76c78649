//go:build linux || darwin

package sftp

import (
	"errors"
	"strings"
	"syscall"
)

// Status codes, draft-ietf-secsh-filexfer-02 section 7.
const (
	fxOK               = 0
	fxEOF              = 1
	fxNoSuchFile       = 2
	fxPermissionDenied = 3
	fxFailure          = 4
	fxBadMessage       = 5
	fxUnsupported      = 8
)

// A status is how a request ended, in the protocol's words.
type status struct {
	code uint32
	text string
}

func (s status) Error() string { return s.text }

// toStatus translates as OpenSSH's server does (errno_to_portable), but for
// what a file system cannot do: clients can go on without it. The text says
// what the code does not.
func toStatus(err error) status {
	var st status
	var errno syscall.Errno
	switch {
	case err == nil:
		return status{fxOK, "Success"}
	case errors.As(err, &st):
		return st
	case !errors.As(err, &errno):
		return status{fxFailure, err.Error()}
	}
	text := errno.Error()
	st = status{fxFailure, strings.ToUpper(text[:1]) + text[1:]}
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EBADF, syscall.ELOOP:
		st.code = fxNoSuchFile
	case syscall.EPERM, syscall.EACCES, syscall.EFAULT:
		st.code = fxPermissionDenied
	case syscall.ENAMETOOLONG, syscall.EINVAL:
		st.code = fxBadMessage
	case syscall.ENOSYS, syscall.EOPNOTSUPP:
		st.code = fxUnsupported
	}
	return st
}
