package native

// Line is what tests see of an operation.
type Line struct {
	Method, Path string
	Fresh        bool
	Public       bool // anybody may ask
	Tokens       bool // a personal HTTP access token may ask
	Stream       bool // it answers for as long as it is let, or with a file
}

// Lines are all operations.
func (a *API) Lines() []Line {
	var all []Line
	for _, o := range a.operations() {
		all = append(all, Line{o.method, o.path, o.fresh, o.public, o.tokens, o.stream || o.media != ""})
	}
	return all
}
