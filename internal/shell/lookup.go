//go:build linux || darwin

package shell

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A programError says why something cannot be executed, with POSIX's status.
type programError struct {
	status int
	text   string
}

func (e *programError) Error() string { return e.text }

// lookPath finds a program. It says what is wrong with the one that it finds,
// if it can be nothing else.
func lookPath(name, dir, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	var refused error
	for _, elem := range filepath.SplitList(path) {
		if !filepath.IsAbs(elem) {
			elem = filepath.Join(dir, elem)
		}
		file := filepath.Join(elem, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		var e *programError
		if errors.As(err, &e) && e.status == 126 && !isDir(file) {
			refused = err
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", &programError{127, "command not found"}
}

func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &programError{127, "No such file or directory"}
	case err != nil:
		return &programError{126, "Permission denied"}
	case info.IsDir():
		return &programError{126, "Is a directory"}
	case unix.Access(file, unix.X_OK) != nil:
		return &programError{126, "Permission denied"}
	}
	return nil
}

func isDir(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.IsDir()
}

func badInterpreter(interpreter string) string {
	if interpreter == "" {
		return "cannot execute: the image lacks the loader that it needs"
	}
	return interpreter + ": bad interpreter: No such file or directory"
}

// shebang is the first line of a script after #!, "" if it has none.
func shebang(file string) string {
	head := head(file)
	line, _, _ := strings.Cut(head, "\n")
	if !strings.HasPrefix(line, "#!") {
		return ""
	}
	return strings.TrimSpace(line[2:])
}

// shellNames says whether an interpreter's line means a shell like this one.
func shellNames(interpreter string) bool {
	fields := strings.Fields(interpreter)
	if len(fields) > 1 && filepath.Base(fields[0]) == "env" {
		fields = fields[1:]
	}
	if len(fields) == 0 {
		return false
	}
	switch filepath.Base(fields[0]) {
	case "sh", "bash", "dash", "ash", "ksh":
		return true
	}
	return false
}

func isText(file string) bool {
	line, _, _ := strings.Cut(head(file), "\n")
	return !strings.Contains(line, "\x00")
}

func head(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it was only read
	buf := make([]byte, 256)
	n, _ := f.Read(buf) // what cannot be read has no first line
	return string(buf[:n])
}
