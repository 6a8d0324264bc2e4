package login

// SafeTarget returns a path of ours to which a browser may be sent after a sign-in: the target itself, or "/".
func (s *Service) SafeTarget(target string) string { return "/" }
