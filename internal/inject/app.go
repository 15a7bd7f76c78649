package inject

import (
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// App is how a container's own program is started.
type App struct {
	// Entrypoint and Args together are the argv; both empty means that the image names no program.
	Entrypoint, Args []string
	// Dir is the absolute working directory. User is as the image has it: "", a name, a number, or either with a group.
	Dir, User string
	// Env is the image's environment, "NAME=value" each.
	Env []string
}

// AppOf says how Cloud Run starts the program of an image in a container with this command, args and working directory.
// As in Kubernetes, a command replaces the image's ENTRYPOINT and its CMD, args alone replace only CMD.
func AppOf(cfg *v1.ConfigFile, command, args []string, workdir string) App {
	c := cfg.Config
	app := App{
		Entrypoint: slices.Clone(c.Entrypoint),
		Args:       slices.Clone(c.Cmd),
		Dir:        path.Join("/", c.WorkingDir),
		User:       c.User,
		Env:        slices.Clone(c.Env),
	}
	if len(command) > 0 {
		app.Entrypoint, app.Args = slices.Clone(command), nil
	}
	if len(args) > 0 {
		app.Args = slices.Clone(args)
	}
	if workdir != "" {
		app.Dir = path.Join("/", workdir)
	}
	return app
}
