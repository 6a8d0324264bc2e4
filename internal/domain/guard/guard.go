// Package guard bounds what strangers and callers can ask for: failed attempts per address, and the
// request budget of a project.
//
// Failures counts failed attempts in a fixed window and says when an address has had enough. Budget is
// a token bucket that all nodes share, of which each takes a few tokens at a time. Both keep their
// rows in a Store and their arithmetic here, in pure functions, so that nodes with slightly different
// clocks together never allow more than one would.
package guard
