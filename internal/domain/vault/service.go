package vault

// Service keeps credentials.
type Service struct{}
