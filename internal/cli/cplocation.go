package cli

import (
	"cmp"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// location is one side of a copy as the user wrote it.
type location struct {
	service string // empty for this machine
	path    string
	std     bool // "-"
}

// serviceName is what Cloud Run takes for a service's name.
var serviceName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// parseLocation reads SERVICE:PATH, job:NAME:PATH or the like, or a path of this machine: one without a
// colon, or with a slash before it, or, on Windows, with a drive's letter.
func parseLocation(arg, goos string) (location, error) {
	if arg == "-" {
		return location{path: "-", std: true}, nil
	}
	if arg == "" {
		return location{}, usagef("an empty path")
	}
	service, path, ok := strings.Cut(arg, ":")
	if name, rest, more := strings.Cut(path, ":"); more && isKind(service) && serviceName.MatchString(name) {
		service, path = service+":"+name, rest
	}
	separators := "/"
	if goos == "windows" {
		separators = `/\`
		if len(service) == 1 {
			ok = false
		}
	}
	if !ok || service == "" || strings.ContainsAny(service, separators) {
		return location{path: arg}, nil
	}
	if _, name, _ := strings.Cut(service, ":"); !serviceName.MatchString(cmp.Or(name, service)) {
		return location{}, withHints(usagef("%q: %q is not the name of a service", arg, service),
			"a file of this machine whose name has a colon is ./"+arg)
	}
	if path == "" {
		path = "."
	}
	return location{service: service, path: path}, nil
}

// isKind reports whether a word says what sort of thing the name after it is, as
// in job:NAME:PATH.
func isKind(word string) bool {
	return slices.Contains([]provision.Kind{provision.KindService, provision.KindJob, provision.KindWorkerPool}, provision.Kind(word))
}

// parse reads the arguments of cp.
func (o *cpOptions) parse(args []string) error {
	if len(args) < 2 {
		return usagef("cp takes at least one source, and a destination")
	}
	o.sources = nil
	for i, arg := range args {
		l, err := parseLocation(arg, runtime.GOOS)
		if err != nil {
			return err
		}
		if i == len(args)-1 {
			o.dst = l
		} else {
			o.sources = append(o.sources, l)
		}
	}
	stdin := slices.ContainsFunc(o.sources, func(l location) bool { return l.std })
	switch {
	case stdin && len(o.sources) > 1:
		return usagef("- (standard input) can be the only source")
	case o.dst.std && slices.ContainsFunc(o.sources, func(l location) bool { return l.service == "" }):
		return usagef("only files of a twin are copied to standard output")
	case len(o.services()) == 0:
		return withHints(usagef("no side of the copy is a twin"), "name a file in a twin as SERVICE:PATH, such as hello:/tmp/file")
	}
	return nil
}

// services are the services whose twins are needed, each once.
func (o *cpOptions) services() []string {
	var names []string
	for _, l := range append(slices.Clone(o.sources), o.dst) {
		if l.service != "" && !slices.Contains(names, l.service) {
			names = append(names, l.service)
		}
	}
	return names
}

// here are the paths of the sources if all of them are files of this machine.
func (o *cpOptions) here() []string {
	var paths []string
	for _, l := range o.sources {
		if l.service != "" || l.std {
			return nil
		}
		paths = append(paths, l.path)
	}
	return paths
}

// title is the copy in a few words.
func (o *cpOptions) title() string {
	from := o.services()[0]
	switch {
	case o.dst.service == "":
		return "copying from " + from
	case len(o.services()) == 1 && o.sources[0].service == "":
		return "copying to " + from
	}
	return "copying to " + o.dst.service
}
