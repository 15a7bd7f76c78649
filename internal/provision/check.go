package provision

// Verdict is how a check ended.
type Verdict string

// Verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // the job can be done, in another way or at a price
	Failed  Verdict = "failed"  // the job cannot be done
	Unknown Verdict = "unknown" // it could not be seen, which need not matter
)

// Check is something that a twin needs, and whether it is there.
type Check struct {
	Name    string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	// Detail is what was found.
	Detail string `json:"detail,omitempty"`
	// Role is the one that is missing, Commands what puts it right, to be copied.
	Role     string   `json:"role,omitempty"`
	Commands []string `json:"commands,omitempty"`
}
