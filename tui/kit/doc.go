// Package kit is what the screens of the terminal interface are drawn and driven
// with: a frame of cells, a virtual list with a live filter, a table, form
// fields, dialogs, one table of named actions with their keys, and themes.
//
// It knows nothing of secrets, of bubbletea or of a clock: bytes, keys and times
// are handed in, so that everything here is a value that a test can hold.
//
// Three things are structure and not convention:
//
//   - Text reaches the terminal through a Frame only, and a Frame writes no
//     control character that it did not make itself. Whatever a name, a note or a
//     value contains is cut into glyphs in one place (scanner), which shows
//     escapes, controls, bidirectional overrides and invisible characters as
//     marks.
//   - Keys are those of the one table of actions. The footer, the help, the
//     palette and the matching of a key all read it, so that they cannot disagree.
//   - A Consent, which whatever changes something asks for, comes out of a
//     Confirm box and from nowhere else; the box gives it for one capital letter
//     that is no other action's key, never for Enter, Space or a key that repeats.
package kit
