// Package resolve decides what a command gets: from the rules of a project
// file and the secrets of one environment it makes a Plan, which says of each
// variable where its value comes from and what it wins against.
//
// # Order
//
// From the lowest to the highest (runner C1):
//
//  1. the environment that the command would inherit
//  2. [[inject]] rules in the order of the file, then [[file]] rules likewise
//  3. the inherited value again, if inherit_wins or --keep-env names it
//  4. dotenv files given by -f, in order
//  5. --set NAME=VALUE
//
// with one exception: what is kept at 3 is kept against 4 too, since whoever
// asks to keep the caller's value means it against all that comes from files.
// Every loser is in the plan.
//
// # What it refuses
//
// A plan with a required secret, field or variable missing, with a name that
// steers other programs and is not in allow_names, with a name that no
// environment can hold, or with a NUL in a value that is not delivered as a
// file, cannot be applied: Resolve returns it beside a *ProblemError, for
// explain, and Plan.Environ refuses it. Nothing is dropped silently and
// nothing is guessed: near matches are for messages.
//
// What a rule names must be there unless the rule says optional: the secret,
// each name and pattern of only, each field of rename. A variable in require
// must come from a rule, a dotenv file or --set. A value that was inherited
// counts only if inherit_wins or --keep-env names it, so that a database
// address left over in a shell is never taken for that of the environment.
//
// A field that a [[file]] rule delivers is not also made a variable by a rule
// that takes it only by a pattern or with all others.
//
// # A run inside a run
//
// A command is marked with the environment it was started for and the names
// it was given. Inside it, a run for the same environment lays its variables
// over those there are. A run for another environment first drops what the
// outer one gave: no value reaches another environment.
package resolve
