package device

// Service keeps devices.
type Service struct{}
