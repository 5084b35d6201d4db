// Package flow holds tests alone: a few ways through the interface in
// bubbletea's own event loop and renderer, which the driver of tui/tuitest leaves
// out so that it can look between any two messages, and the tests in tmux have
// behind a whole program.
//
// They stand in a folder of their own since the golden files of teatest take the
// flag -update for themselves.
package flow
