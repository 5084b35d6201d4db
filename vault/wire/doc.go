// Package wire holds the JSON of the Vault HTTP API, as much of it as envrun
// speaks: the envelope of an answer, the bodies of requests and answers, the
// forms of numbers, durations and times, and which status stands for which kind
// of error. The client and the server both take it from here, so that they
// cannot come to differ (server-api §1).
//
// It refuses to speak: it knows no HTTP, no path and no header. What holds a
// value or a token prints as a mask however it is printed, so that an answer
// that is logged by mistake tells nothing.
//
// What is sent to us is read leniently, as Vault reads it: a number may be a
// string, a list may be text with commas. What we send has one form.
package wire
