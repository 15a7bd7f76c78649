package agent

import "os"

// widen does nothing: the system widens pipes by itself.
func widen(*os.File) {}
