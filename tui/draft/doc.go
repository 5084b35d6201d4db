// Package draft holds the changes to secrets that a person has made and not
// sent: which fields are set, added and removed, the values that were typed,
// pasted, generated or taken over, and against which version of the secret.
//
// Drafts belong to the session and not to a screen: they outlive the screen,
// the lock and whatever goes wrong with sending them, until they are sent or
// dropped. They are never written anywhere.
//
// It refuses to show a value. A screen gets names, facts and inputs; the values
// are behind an Opener, which New makes once and the root keeps for itself, to
// draw one in its slot and to send them. They lie in kit.Fields, whose bytes are
// overwritten when they move and when they are dropped. That is also why no
// text area of a library is used for them: the one of bubbles keeps each line
// it has drawn in a cache, by its text, and its values are runes that nothing
// overwrites.
package draft
