package tool

// All returns every tool, sorted by name.
func All() []Tool {
	return nil
}
