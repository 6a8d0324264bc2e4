package native

// Line is what tests see of an operation.
type Line struct {
	Method, Path string
	Fresh        bool
}

// Lines are all operations.
func (a *API) Lines() []Line {
	var all []Line
	for _, o := range a.operations() {
		all = append(all, Line{o.method, o.path, o.fresh})
	}
	return all
}
