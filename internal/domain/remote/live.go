package remote

// Live is a session that this node carries.
type Live struct{}
