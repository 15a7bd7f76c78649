package transport

import (
	"fmt"
	"net/http"
	"strings"
)

// VersionError says that client and agent are different builds. They speak
// the same version or not at all.
type VersionError struct {
	Client string // the client's build version
	Agent  string // the agent's
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the agent in the twin is version %s, this client is version %s", e.Agent, e.Client)
}

// StatusError is an answer to the upgrade request other than an upgrade. It
// came from the agent, from Google's front end or from a proxy on the way.
type StatusError struct {
	Code   int         // HTTP status
	Header http.Header // header of the answer
	Body   string      // the first 1024 bytes of the body, as they came
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
	if cause := e.cause(); cause != "" {
		text += " (" + cause + ")"
	}
	if body := e.excerpt(); body != "" {
		text += ": " + body
	}
	return text
}

// cause is what the status means on Cloud Run, where each of these has one
// usual reason.
func (e *StatusError) cause() string {
	switch e.Code {
	case http.StatusUnauthorized:
		return "the ID token is missing, expired or made for another audience"
	case http.StatusForbidden:
		return "this identity may not invoke the service"
	case http.StatusNotFound:
		return "there is no such service, or it does not run the agent"
	case http.StatusGone:
		return "the twin is being deleted"
	case http.StatusProxyAuthRequired:
		return "the proxy wants credentials"
	case http.StatusTooManyRequests:
		return "no instance was free"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "the instance did not answer"
	}
	return ""
}

// excerpt is the body on one line, without markup: front ends answer in HTML.
func (e *StatusError) excerpt() string {
	body := e.Body
	if strings.Contains(e.Header.Get("Content-Type"), "html") || strings.HasPrefix(strings.TrimSpace(body), "<") {
		return ""
	}
	body = strings.Join(strings.Fields(strings.ToValidUTF8(body, "?")), " ")
	if runes := []rune(body); len(runes) > 200 {
		body = string(runes[:200]) + "..."
	}
	return body
}

// BrokenError says that a connection was lost, as against closed by the peer.
type BrokenError struct {
	Err error // why
}

func (e *BrokenError) Error() string { return "connection broken: " + e.Err.Error() }

func (e *BrokenError) Unwrap() error { return e.Err }

// plain is text of the peer's, fit to be shown.
func plain(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
}
