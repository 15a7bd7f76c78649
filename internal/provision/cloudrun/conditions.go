package cloudrun

import (
	"fmt"
	"slices"
	"strings"

	"cloud.google.com/go/run/apiv2/runpb"
)

// ready: the platform has done what it was asked to, and it worked.
func ready(svc *runpb.Service) bool {
	return !svc.GetReconciling() && svc.GetTerminalCondition().GetState() == runpb.Condition_CONDITION_SUCCEEDED
}

// broken: it is done, and it did not work.
func broken(svc *runpb.Service) bool {
	return !svc.GetReconciling() && svc.GetTerminalCondition().GetState() == runpb.Condition_CONDITION_FAILED
}

// conditionLog tells of each condition when it changes.
type conditionLog struct {
	update func(string)
	seen   map[string]string
}

func newConditionLog(update func(string)) *conditionLog {
	return &conditionLog{update: update, seen: map[string]string{}}
}

func (l *conditionLog) show(svc *runpb.Service) {
	for _, c := range withTerminal(svc) {
		if line := describe(c); l.seen[c.GetType()] != line {
			l.seen[c.GetType()] = line
			l.update(line)
		}
	}
}

// withTerminal are a service's conditions, the one that sums them up last.
func withTerminal(svc *runpb.Service) []*runpb.Condition {
	all := slices.Clone(svc.GetConditions())
	if t := svc.GetTerminalCondition(); t != nil {
		all = slices.DeleteFunc(all, func(c *runpb.Condition) bool { return c.GetType() == t.GetType() })
		all = append(all, t)
	}
	return all
}

// describe is a condition in a line: "ConfigurationsReady: pending: Waiting on revision ...".
func describe(c *runpb.Condition) string {
	state := strings.ToLower(strings.TrimPrefix(c.GetState().String(), "CONDITION_"))
	switch c.GetState() {
	case runpb.Condition_CONDITION_SUCCEEDED:
		return c.GetType() + ": ok"
	case runpb.Condition_STATE_UNSPECIFIED:
		state = "unknown"
	}
	line := fmt.Sprintf("%s: %s", c.GetType(), state)
	if r := reasonOf(c); r != "" {
		line += " (" + r + ")"
	}
	if m := c.GetMessage(); m != "" {
		line += ": " + m
	}
	return line
}

func reasonOf(c *runpb.Condition) string {
	switch r := c.GetReasons().(type) {
	case *runpb.Condition_Reason:
		return r.Reason.String()
	case *runpb.Condition_RevisionReason_:
		return r.RevisionReason.String()
	case *runpb.Condition_ExecutionReason_:
		return r.ExecutionReason.String()
	}
	return ""
}

// NotReadyError says why a twin did not come up, in the platform's words.
type NotReadyError struct {
	Twin string
	// Message is the platform's, Conditions those of the revision that are not fulfilled, Logs its last lines, LogURI
	// where there are more.
	Message          string
	Conditions, Logs []string
	LogURI           string
	err              error
	hints            []string
}

func (e *NotReadyError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s did not become ready: %s", e.Twin, e.Message)
	for _, c := range e.Conditions {
		if !strings.Contains(c, e.Message) || e.Message == "" {
			s.WriteString("\n  " + c)
		}
	}
	if len(e.Logs) > 0 {
		s.WriteString("\n  its last log lines:")
		for _, l := range e.Logs {
			s.WriteString("\n  | " + l)
		}
	}
	return s.String()
}

// Unwrap returns the error of the operation, if there was one.
func (e *NotReadyError) Unwrap() error { return e.err }

// Hints is what helps, if that is known, and where the logs are.
func (e *NotReadyError) Hints() []string {
	if e.LogURI == "" || strings.Contains(e.Message, e.LogURI) {
		return e.hints
	}
	return append(slices.Clone(e.hints), "logs: "+e.LogURI)
}
