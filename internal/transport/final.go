package transport

import "fmt"

// Reason is why a stream cannot go on.
type Reason int

// The reasons. The first ones are the agent's answers to an attempt to resume.
const (
	UnknownStream Reason = iota + 1 // the agent does not know the stream, or no longer
	BadProof                        // the key, or the account, is not the stream's
	StaleEpoch                      // another client has resumed the stream since
	OtherInstance                   // the instance was replaced by another
	OutOfRange                      // the two ends disagree on what was sent
	Expired                         // the agent's keep time is over
	Version                         // client and agent are different builds
	Reset                           // the peer ended the stream
	Gone                            // the twin was deleted
	Refused                         // the front door has refused us for too long
	Stopped                         // the instance said that it stops, and did
)

// FinalError says that a stream has ended and that no attempt can bring it
// back.
type FinalError struct {
	Reason Reason
	Text   string // what the peer said besides, if anything
}

func (e *FinalError) Error() string {
	text := e.Reason.sentence()
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

func (r Reason) sentence() string {
	switch r {
	case UnknownStream:
		return "the agent does not know this connection any more"
	case BadProof:
		return "the agent did not accept our proof that this connection is ours"
	case StaleEpoch:
		return "another client has taken this connection over"
	case OtherInstance:
		return "the instance was stopped and replaced, and the session with it"
	case OutOfRange:
		return "client and agent disagree on what was sent: the connection cannot go on"
	case Expired:
		return "the connection was lost for longer than the agent keeps one"
	case Version:
		return "the agent was replaced by one of another version, and the session with it"
	case Reset:
		return "the agent ended the connection"
	case Gone:
		return "the twin was deleted, and the session with it"
	case Stopped:
		return "the instance was stopped, and the session with it"
	case Refused:
		return "access to the twin was refused for too long"
	}
	return fmt.Sprintf("the connection ended for reason %d", int(r))
}
