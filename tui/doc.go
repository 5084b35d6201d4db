// Package tui is the terminal interface of envrun: browse, reveal, copy, change.
//
// It holds the one tea.Model and what screens must not hold: the vaults, the
// clock, the dialogs, the jobs, and the single slot for a value that is shown.
// It refuses to let a screen do I/O, see a value, or change anything that a
// person was not asked about.
//
// # Parts
//
//	tui          Model: routing (model.go), jobs in lanes (lanes.go), the slot (slot.go),
//	             what jobs may read and write (power.go, drafts.go), who can open what
//	             (access.go), signing in to servers (signin.go), the person's own editor (editor.go), who is watching
//	             (share.go), what rings from beside the interface (bell.go), the mouse
//	             (mouse.go), drawing (draw.go), the ways out (run.go); all of it without a
//	             picture (lines.go)
//	tui/kit      frame, list, fields, dialogs, keys, themes; knows nothing of secrets
//	tui/draft    what was changed and not sent: the values that somebody typed
//	tui/screen   the screens: plain structs that return effects and draw in a rectangle
//	tui/plain    the same screens, actions and boxes in lines, for screen readers
//	tui/clip     the clipboard, and the helper process that clears it
//	tui/tuitest  drives all of it in tests
//
// # What holds by structure
//
//   - A value gets into a picture in slot.Draw and nowhere else. Screens get facts
//     from screen.Reading, which has no method that returns a value, and room for
//     the slot to draw in. The slot is wiped as soon as the screen that asked is not
//     on top, is about another value, or nobody looks (Model.keepHidden, which runs
//     after every message).
//   - What is typed as a value lies in the draft.Set of the session, which opens its
//     values for the draft.Opener in power alone. It outlives screens, the lock and
//     everything that goes wrong with sending it, and is sent by Model.sendDrafts and
//     nowhere else: all drafts in one write, against the versions they were made to.
//   - A job cannot change the screen behind its back: it runs on its own goroutine
//     and hands over functions, which the model calls between two messages if the job
//     is still the one of its lane. A slow answer that comes after the cursor has
//     moved, the filter has grown or the screen is gone changes nothing.
//   - Something is written only with a kit.Consent, which comes out of a kit.Confirm
//     box for one capital letter, in lines for the word yes, and out of nothing else. In a protected
//     environment, what destroys needs its name typed too, and so does what gives or
//     takes access (screen.NeedsName). Who can open what is changed by a
//     screen.Grant, whose job alone is given the power to (screen.Granting).
//   - Text from others becomes cells in kit's scanner, which passes no control
//     character on. Before it stands kit.Veil, which hides the names of secrets while
//     somebody watches who must not read them: it learns names where they come in
//     (share.go), and no screen does anything for it.
//   - Whatever ends or stops the program passes Model.Filter or Model.suspend, which
//     empty the picture before it is left.
//   - Keys, footer, help and palette are read from one table, screen.Actions, and so
//     is what can be done in lines (tui/plain). The mouse presses keys: what can be
//     clicked says so while it is drawn (kit.Zone).
//
// # A new screen
//
// It is one file in tui/screen with a struct that implements Screen:
//
//  1. Give each new thing that can be done a constant and a line in actions.go: ID,
//     a word or two for the footer, a sentence for the help, a group, keys. One key
//     has one meaning wherever possible; lower case looks or moves, upper case
//     changes access or place. What is not Harmless has a name that ends with
//     "..." and only opens a box. The capital Y is never a key.
//  2. The constructor takes the *Project, an Env and what the screen is about; it
//     does nothing. Enter asks for the first job. Enter is also called when the
//     screen is on top again, and after unlocking: keep showing what there is, and
//     read beside it.
//  3. A job is a Read: its lane is named after what it brings ("list", "info"), and
//     a new one in the lane ends the old. Do works on variables of its own and hands
//     changes to show; Done gets the error. Rows come in pages of a thousand.
//  4. Offers lists what works here now, most useful first, moves() last; an action
//     that cannot be used stays in the list with the reason in Off. Offers and Do are
//     the only places that know the screen's actions.
//  5. To change something: build a box with Confirmation, return Ask, and in Then
//     return a Write with the box's Consent if it is OK. Was is the version that the
//     screen showed. In Done, vault.KindConflict means: say so, and read again. What
//     is opened in Done is a Present: whoever has gone on stays where they are.
//  6. Target is the value that the screen is about. Return Reveal{}, PeekAt{}, Copy{}
//     for it; draw it with Scene.Values.Draw, the time that is left with Shown.
//  7. Draw for Scene.Size: Large (from 90 columns), Medium (from 60), Small (from 40).
//     It must not change what a second call would draw, other than what it scrolls
//     to. The states are loading (Scene.Lanes.Busy(lane).Shown), empty, no match,
//     error, denied, offline (trouble.draw says all three), conflict. Below 40x10
//     and while locked the root draws, and the screen is not asked.
//  8. What is typed goes to a kit.Field or kit.Form that Input returns while it has
//     the focus. A value goes to Project.Drafts: Input returns the draft.Input of its
//     field, and Target has Typed set. Other changes that a screen holds itself are
//     counted in Drafts; a screen that has to forget something when it is gone
//     implements Leaver.
//  9. Open it from another screen with Push, and offer it there.
//  10. In lines it is there without a line of its own: what it draws for Medium is
//     printed, the rows of its list with numbers, and its boxes are talked through.
//     A Typist says in Asks what is to be typed; an Input of a new kind needs a case
//     in plain. A script in tui/plain does each new action.
//
// # Its tests
//
// In screen_test, over tuitest.NewWorld: real vaults in memory, whose Memory can be
// made to fail (FailWith). Driver.Press and Type are keys, Advance is time, Hold and
// Deliver make answers late. Every picture is searched for the vault's values: Allow
// one before it is revealed. tuitest.Golden draws a scenario in all sizes, with
// Unicode and with ASCII; go test -update writes the golden files: look at them.
// TestOffersDoNotClash and TestEveryActionIsOffered walk the scenarios of
// screen_test.go: add the new ones there.
package tui
