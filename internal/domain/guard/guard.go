// Package guard bounds what strangers and callers can ask for: failed attempts per address, failed
// sign-ins per name, and the request budget of a project.
//
// Failures counts failed attempts in a fixed window and says when an address has had enough. Lockout slows
// down who guesses at passwords, and Gate keeps guesses from passing all at once. Budget is
// a token bucket that all nodes share, of which each takes a few tokens at a time. They keep their
// rows in a Store and their arithmetic here, in pure functions, so that nodes with slightly different
// clocks together never allow more than one would.
package guard
