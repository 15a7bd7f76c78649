package cloudrun

import (
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"

	"github.com/cloudssh/cloudssh/internal/provision"
)

// entered is the index of the container that the agent goes into: the one named, else the one that takes requests, else
// (jobs have no ports) the only one that no other waits for.
func entered(all []*runpb.Container, name string) (int, error) {
	switch {
	case len(all) == 0:
		return 0, fmt.Errorf("there is no container")
	case name != "":
		i := slices.IndexFunc(all, func(c *runpb.Container) bool { return c.GetName() == name })
		if i < 0 {
			return 0, provision.Hint(fmt.Errorf("no container %q; there is %s", name, strings.Join(containerNames(all), ", ")),
				enterCommands(all)...)
		}
		return i, nil
	}
	i := slices.IndexFunc(all, func(c *runpb.Container) bool { return len(c.GetPorts()) > 0 })
	if i < 0 {
		i = lastOf(all)
	}
	if i < 0 {
		return 0, provision.Hint(fmt.Errorf("none of the containers %s takes requests, so name the one to enter",
			strings.Join(containerNames(all), ", ")), enterCommands(all)...)
	}
	return i, nil
}

// lastOf is the index of the only container that no other waits for, -1 if there are several. A task of a job has ended
// when such containers have.
func lastOf(all []*runpb.Container) int {
	last := -1
	for i, c := range all {
		awaited := slices.ContainsFunc(all, func(o *runpb.Container) bool { return slices.Contains(o.GetDependsOn(), c.GetName()) })
		switch {
		case awaited && c.GetName() != "":
		case last >= 0:
			return -1
		default:
			last = i
		}
	}
	return last
}

// containerNames are the names of containers; one without is shown by its place.
func containerNames(all []*runpb.Container) []string {
	var names []string
	for i, c := range all {
		if c.GetName() == "" {
			names = append(names, fmt.Sprintf("one without a name (number %d)", i+1))
			continue
		}
		names = append(names, c.GetName())
	}
	return names
}

// enterCommands are the flags that enter each of the containers that have a name.
func enterCommands(all []*runpb.Container) []string {
	var flags []string
	for _, c := range all {
		if c.GetName() != "" {
			flags = append(flags, "--container "+c.GetName())
		}
	}
	return flags
}

// appCommand is the command and the args of a container's program, with the user's own in their place: what inject.AppOf
// takes. A new command leaves the args, as gcloud's --command does.
func appCommand(c *runpb.Container, o provision.Overrides) (command, args []string) {
	command, args = c.GetCommand(), c.GetArgs()
	if o.Command != nil {
		command = o.Command
	}
	if o.Args != nil {
		args = o.Args
	}
	return command, args
}
