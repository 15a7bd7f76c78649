package cli

import (
	"fmt"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
)

// shareFlag is --share[=read|write].
type shareFlag struct{ mode session.ShareMode }

func (f *shareFlag) String() string { return f.mode.String() }
func (f *shareFlag) Type() string   { return "read|write" }

func (f *shareFlag) Set(value string) error {
	switch value {
	case session.ShareRead.String():
		f.mode = session.ShareRead
	case session.ShareWrite.String():
		f.mode = session.ShareWrite
	default:
		return fmt.Errorf("want read or write, not %q", value)
	}
	return nil
}

// joinCommand is what a colleague types to join a session. It holds no secret:
// the project's IAM says who gets in.
func joinCommand(t *provision.Twin, number uint32, mode session.ShareMode) string {
	text := fmt.Sprintf("cloudssh attach --project %s --region %s --twin %s --session %d", t.Project, t.Region, t.Name, number)
	if mode == session.ShareRead {
		text += " --read-only"
	}
	return text
}
