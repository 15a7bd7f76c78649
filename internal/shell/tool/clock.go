package tool

import (
	"time"
)

// zone is the time zone of TZ: that of the session, not of the shell's process.
func zone(c *Context) *time.Location {
	name := c.Env("TZ")
	if name == "" {
		return time.Local
	}
	if at, err := time.LoadLocation(name); err == nil {
		return at
	}
	return time.UTC
}
