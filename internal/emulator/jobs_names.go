package emulator

import "strings"

// jobName, executionName and taskName identify what jobs are made of.
type jobName struct {
	location
	job string
}

func (n jobName) String() string { return n.location.String() + "/jobs/" + n.job }

// namespaced is the form that the platform's IAM errors use.
func (n jobName) namespaced() string { return "namespaces/" + n.project + "/jobs/" + n.job }

func (n jobName) permission(verb string) string { return "run.jobs." + verb }

type executionName struct {
	jobName
	execution string
}

func (n executionName) String() string { return n.jobName.String() + "/executions/" + n.execution }

type taskName struct {
	executionName
	task string
}

func (n taskName) String() string { return n.executionName.String() + "/tasks/" + n.task }

func parseJob(field, name string) (jobName, error) {
	const pattern = "projects/*/locations/*/jobs/*"
	f, ok := fields(name, pattern)
	if !ok {
		return jobName{}, malformed(field, name, pattern)
	}
	return jobName{location{f[0], f[1]}, f[2]}, nil
}

func parseExecution(field, name string) (executionName, error) {
	const pattern = "projects/*/locations/*/jobs/*/executions/*"
	f, ok := fields(name, pattern)
	if !ok {
		return executionName{}, malformed(field, name, pattern)
	}
	return executionName{jobName{location{f[0], f[1]}, f[2]}, f[3]}, nil
}

func parseTask(field, name string) (taskName, error) {
	parent, task, _ := strings.Cut(name, "/tasks/")
	n, err := parseExecution(field, parent)
	if err != nil || task == "" || strings.Contains(task, "/") {
		return taskName{}, malformed(field, name, "projects/*/locations/*/jobs/*/executions/*/tasks/*")
	}
	return taskName{n, task}, nil
}

func (a *admin) job(field, name string) (jobName, error) {
	n, err := parseJob(field, name)
	if err != nil {
		return jobName{}, err
	}
	n.location, err = a.checkLocation(field, n.location)
	return n, err
}

func (a *admin) execution(field, name string) (executionName, error) {
	n, err := parseExecution(field, name)
	if err != nil {
		return executionName{}, err
	}
	n.location, err = a.checkLocation(field, n.location)
	return n, err
}
