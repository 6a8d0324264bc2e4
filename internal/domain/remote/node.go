package remote

import "context"

// Run does what a node that carries sessions must until ctx ends: it says that it lives, ends sessions that must end, takes over those of nodes that are
// gone, and writes what passes for those who look on.
func (s *Service) Run(ctx context.Context) { <-ctx.Done() }

// Drain ends all sessions of this node, and starts none any more. It returns when all are over and their recordings closed, or ctx is.
func (s *Service) Drain(ctx context.Context) {}

// Heard is told by notice that a remote session changed, was ended or is asked to end.
func (s *Service) Heard(id string) {}

// HeardGrants is told by notice that somebody's grants, groups or account changed.
func (s *Service) HeardGrants() {}

// HeardWatch is told by notice that somebody began to look on at a session, or stopped.
func (s *Service) HeardWatch(id string) {}
