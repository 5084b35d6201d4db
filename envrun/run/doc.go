// Package run starts the user's program with an environment and is then not to
// be noticed: same signals, same terminal, same exit status as without it.
//
// On Unix the way to that is execve: this process becomes the program, and nothing
// of ours is left that could get a signal or a status wrong. Only when something is
// left to do while or after the program runs (masking a stream, a deadline, files
// to remove, clean-up) does a supervisor stay behind it. Plan says which of the two
// it will be and why; Run does it; Status.Exit ends this process as the program
// ended.
//
// The supervisor keeps these rules, each of which some tool of this kind breaks:
//
//   - It catches HUP, INT, QUIT, TERM, USR1 and USR2 and passes them on, and no
//     other signal that means something to the program. TTIN and TTOU stop both
//     processes at once. TSTP is left to the program alone, and the supervisor
//     follows it: were both stopped by the terminal, the shell would be back before
//     an editor has put the screen in order, and would think a program stopped that
//     ignores Ctrl-Z.
//   - With a controlling terminal the program stays in our process group, and INT
//     and QUIT are not passed on when the terminal has sent them to it already.
//     Without one, the program leads a group, and signals go to the group.
//   - It never ends before the program, and never signals a process that has been
//     waited for.
//   - A stream that is a terminal stays one: it is masked through a
//     pseudo-terminal, never through a pipe.
//
// What it cannot do is known: a signal sent to all processes of a service, as systemd
// does by default, reaches a supervised program a second time through us
// (KillMode=mixed avoids that); a program that is masked on a terminal of its own
// takes the processes it leaves behind on that terminal with it; and a Go program
// learns which signals it was started to ignore only if it is linked for that, with
// -ldflags=-E=envrun_start (Linux).
//
// It refuses to search the current directory for programs, to run with a limit of
// the system exceeded, to write a secret to a disk unless told to, and to put a
// value into an argument. It prints nothing: errors and warnings are returned.
package run
