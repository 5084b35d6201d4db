package screen

import "envrun/tui/kit"

// The actions. What a screen offers, what the footer and the help and the palette
// show, and which key means what, is all in the table below: a new action is one
// constant and one line.
const (
	Up       = "move.up"
	Down     = "move.down"
	First    = "move.first"
	Last     = "move.last"
	PageUp   = "move.pageup"
	PageDown = "move.pagedown"
	HalfUp   = "move.halfup"
	HalfDown = "move.halfdown"
	Left     = "move.left"
	Right    = "move.right"
	Next     = "move.next"

	Filter      = "find.filter"
	KeepFilter  = "find.keep"
	ClearFilter = "find.clear"
	ListUp      = "find.up"
	ListDown    = "find.down"
	Tree        = "find.tree"

	Open     = "look.open"
	ShowHide = "look.reveal"
	Peek     = "look.peek"
	CopyIt   = "look.copy"
	CopyPath = "look.path"
	StopIt   = "look.stop"

	History  = "look.history"
	Mark     = "look.mark"
	Diff     = "look.diff"
	Compare  = "go.compare"
	SameName = "go.same"
	NextPair = "compare.next"
	PrevPair = "compare.previous"
	ShowRows = "compare.show"

	CopyTo   = "change.copy"
	RollBack = "change.rollback"

	EditIt       = "change.edit"
	NewIt        = "change.new"
	ImportIt     = "change.import"
	Review       = "change.review"
	SendIt       = "change.send"
	Delete       = "change.delete"
	DeleteSecret = "change.deletesecret"

	TypeIt       = "edit.type"
	DoneTyping   = "edit.done"
	ShowTyped    = "edit.show"
	Generate     = "edit.generate"
	SeveralLines = "edit.lines"
	EditorIt     = "edit.editor"
	AddField     = "edit.add"
	RemoveField  = "edit.remove"
	RenameField  = "edit.rename"
	TakePresent  = "edit.take"
	Undo         = "edit.undo"
	Resolve      = "edit.resolve"
	GoOn         = "edit.on"
	Complete     = "edit.complete"
	Choose       = "import.choose"
	ChooseAll    = "import.all"
	Stage        = "import.stage"

	RunLine = "app.run"

	SealIt = "change.seal"

	GoInbox   = "go.inbox"
	GoMembers = "go.members"
	GoExposed = "go.exposed"
	GoVault   = "go.vault"
	GoSession = "go.session"

	AskAccess    = "access.request"
	SendRequest  = "access.send"
	TakeBack     = "access.takeback"
	Approve      = "access.approve"
	Deny         = "access.deny"
	AddMember    = "access.add"
	MarkMember   = "access.mark"
	RemoveMember = "access.remove"
	NewEnvKey    = "access.newkey"
	Sweep        = "access.sweep"
	TrustKey     = "access.trust"
	CopySteps    = "access.commands"
	CopyPublic   = "access.public"
	Check        = "look.check"

	DoSignIn     = "access.signin"
	DoSignOut    = "access.signout"
	OtherAccount = "access.account"

	Reload    = "app.reload"
	Back      = "app.back"
	Quit      = "app.quit"
	Palette   = "app.palette"
	Help      = "app.help"
	Details   = "app.details"
	PickEnv   = "go.env"
	Share     = "app.share"
	Mouse     = "app.mouse"
	NextTheme = "app.theme"
	Lock      = "app.lock"
	Suspend   = "app.suspend"
	Interrupt = "app.interrupt"
	Unlock    = "app.unlock"
)

// Groups of the help, in its order.
const (
	GroupLook   = "Look"
	GroupChange = "Change"
	GroupFind   = "Find"
	GroupGo     = "Go"
	GroupAccess = "Access"
	GroupApp    = "App"
	GroupMove   = "Move" // what most people know already
)

// Groups are the headings of the help in their order.
func Groups() []string {
	return []string{GroupLook, GroupChange, GroupFind, GroupGo, GroupAccess, GroupApp, GroupMove}
}

// Actions is the table of all actions.
func Actions() []kit.Action {
	return []kit.Action{
		{ID: Up, Name: "up", Help: "one line up", Group: GroupMove, Keys: []string{"k", "up", "ctrl+p"}},
		{ID: Down, Name: "down", Help: "one line down", Group: GroupMove, Keys: []string{"j", "down", "ctrl+n"}},
		{ID: First, Name: "first", Help: "to the first line", Group: GroupMove, Keys: []string{"g", "home"}},
		{ID: Last, Name: "last", Help: "to the last line", Group: GroupMove, Keys: []string{"G", "end"}},
		{ID: PageUp, Name: "page up", Help: "one page up", Group: GroupMove, Keys: []string{"pgup", "ctrl+b"}},
		{ID: PageDown, Name: "page down", Help: "one page down", Group: GroupMove, Keys: []string{"pgdown", "ctrl+f"}},
		{ID: HalfUp, Name: "half up", Help: "half a page up", Group: GroupMove, Keys: []string{"ctrl+u"}},
		{ID: HalfDown, Name: "half down", Help: "half a page down", Group: GroupMove, Keys: []string{"ctrl+d"}},
		{ID: Left, Name: "close", Help: "close the folder, go to the one above", Group: GroupMove, Keys: []string{"h", "left"}},
		{ID: Right, Name: "open", Help: "open the folder", Group: GroupMove, Keys: []string{"l", "right"}},
		{ID: Next, Name: "next", Help: "to the next field or pane", Group: GroupMove, Keys: []string{"tab"}},

		{ID: Filter, Name: "filter", Help: "show only what matches: words, 'exact, !not, ^start, end$", Group: GroupFind, Keys: []string{"/"}},
		{ID: KeepFilter, Name: "keep", Help: "keep what is filtered and go on", Group: GroupFind, Keys: []string{"enter"}},
		{ID: ListUp, Name: "up", Help: "one line up while typing", Group: GroupMove, Keys: []string{"up", "ctrl+p"}},
		{ID: ListDown, Name: "down", Help: "one line down while typing", Group: GroupMove, Keys: []string{"down", "ctrl+n"}},
		{ID: ClearFilter, Name: "all", Help: "show everything again", Group: GroupFind, Keys: []string{"esc"}},
		{ID: Tree, Name: "tree", Help: "show folders, or a flat list", Group: GroupFind, Keys: []string{"t"}},

		{ID: PickEnv, Name: "environment", Help: "go to another environment", Group: GroupGo, Keys: []string{"E"}},
		{ID: GoInbox, Name: "inbox", Help: "who asks for access, and what becomes of it", Group: GroupGo, Keys: []string{"I"}},
		{ID: GoMembers, Name: "who", Help: "who can open this environment, and until when", Group: GroupGo, Keys: []string{"w"}},
		{ID: GoExposed, Name: "to replace", Help: "what former members could read, and is still in use", Group: GroupGo, Keys: []string{"O"}},
		{ID: GoVault, Name: "vault", Help: "what is stored, whether it is right, what is not sealed", Group: GroupGo, Keys: []string{"K"}},
		{ID: GoSession, Name: "session", Help: "who you are, how you are signed in or with which key, and what that opens", Group: GroupGo, Keys: []string{"S"}},
		{ID: Back, Name: "back", Help: "to the screen before", Group: GroupGo, Keys: []string{"esc", "-"}},

		{ID: Open, Name: "open", Help: "open what the cursor is on", Group: GroupLook, Keys: []string{"enter"}},
		{ID: ShowHide, Name: "reveal", Help: "show the value for a few seconds, or hide it", Group: GroupLook, Keys: []string{"v"}},
		{ID: Peek, Name: "peek", Help: "show the value while the key is held, where the terminal tells; else as reveal", Group: GroupLook, Keys: []string{"V"}},
		{ID: CopyIt, Name: "copy", Help: "copy the value; it leaves the clipboard by itself", Group: GroupLook, Keys: []string{"y"}},
		{ID: CopyPath, Name: "copy path", Help: "copy where it is, not the value", Group: GroupLook, Keys: []string{"p"}},
		{ID: StopIt, Name: "stop", Help: "stop reading; what has come stays", Group: GroupLook, Keys: []string{"esc"}},

		{ID: History, Name: "history", Help: "the versions of this secret, and going back to one", Group: GroupLook, Keys: []string{"H"}},
		{ID: Mark, Name: "mark", Help: "compare the others with this version", Group: GroupLook, Keys: []string{"space"}},
		{ID: Diff, Name: "diff", Help: "what differs, field by field, without values", Group: GroupLook, Keys: []string{"D"}},

		{ID: Compare, Name: "compare", Help: "what environments have differently, without values", Group: GroupGo, Keys: []string{"C"}},
		{ID: SameName, Name: "elsewhere", Help: "the same name in the other environments", Group: GroupGo, Keys: []string{"="}},
		{ID: NextPair, Name: "next pair", Help: "compare the next environments", Group: GroupGo, Keys: []string{">"}},
		{ID: PrevPair, Name: "previous pair", Help: "compare the environments before", Group: GroupGo, Keys: []string{"<"}},
		{ID: ShowRows, Name: "show", Help: "differences only, all names, or only what is missing somewhere", Group: GroupFind, Keys: []string{"f"}},

		{ID: CopyTo, Name: "copy to...", Help: "copy this to another environment", Group: GroupChange, Keys: []string{"c"}, Harm: kit.Destroys},
		{ID: RollBack, Name: "roll back...", Help: "bring this version back, as a new one", Group: GroupChange, Keys: []string{"u"}, Harm: kit.Destroys},
		{ID: EditIt, Name: "edit", Help: "change the secret; nothing is sent before you have looked at it", Group: GroupChange, Keys: []string{"e"}},
		{ID: NewIt, Name: "new", Help: "begin a new secret", Group: GroupChange, Keys: []string{"n"}},
		{ID: ImportIt, Name: "import", Help: "take values in from a file: .env, JSON, YAML, compose, Kubernetes", Group: GroupChange, Keys: []string{"i"}},
		{ID: Review, Name: "review", Help: "look at what was changed and not sent, and send it", Group: GroupChange, Keys: []string{"ctrl+s"}},
		{ID: SendIt, Name: "send...", Help: "send all of it in one write", Group: GroupChange, Keys: []string{"ctrl+s"}, Harm: kit.Writes},
		{ID: TypeIt, Name: "type", Help: "type or paste what it is to be", Group: GroupChange, Keys: []string{"enter", "e"}},
		{ID: DoneTyping, Name: "done", Help: "nothing more to type; it is kept and not sent", Group: GroupChange, Keys: []string{"esc", "enter"}},
		{ID: ShowTyped, Name: "show", Help: "show what is typed for a few seconds, or hide it", Group: GroupChange, Keys: []string{"ctrl+v"}},
		{ID: Generate, Name: "generate", Help: "have a random value made", Group: GroupChange, Keys: []string{"ctrl+g"}},
		{ID: SeveralLines, Name: "lines", Help: "Enter begins a new line, or ends typing", Group: GroupChange, Keys: []string{"ctrl+o"}},
		{ID: EditorIt, Name: "editor", Help: "your own editor, on text in memory", Group: GroupChange, Keys: []string{"ctrl+e"}},
		{ID: AddField, Name: "add field", Help: "a new field of this secret", Group: GroupChange, Keys: []string{"n"}},
		{ID: RemoveField, Name: "remove", Help: "have the field removed when the changes are sent", Group: GroupChange, Keys: []string{"d"}},
		{ID: RenameField, Name: "rename", Help: "another name for the field, with the same value", Group: GroupChange, Keys: []string{"f2"}},
		{ID: TakePresent, Name: "amend", Help: "begin with the present value, to change a part of it", Group: GroupChange, Keys: []string{"ctrl+t"}},
		{ID: Undo, Name: "drop", Help: "take the change back", Group: GroupChange, Keys: []string{"ctrl+x"}},
		{ID: Resolve, Name: "compare", Help: "what somebody else has changed meanwhile, and what to do about it", Group: GroupChange, Keys: []string{"D"}},
		{ID: GoOn, Name: "go on", Help: "go on with what is typed", Group: GroupChange, Keys: []string{"enter"}},
		{ID: Complete, Name: "complete", Help: "complete what is typed", Group: GroupChange, Keys: []string{"tab"}},
		{ID: Choose, Name: "choose", Help: "take this one in, or not", Group: GroupChange, Keys: []string{"space"}},
		{ID: ChooseAll, Name: "all", Help: "take in all that are new or changed, or none", Group: GroupChange, Keys: []string{"*"}},
		{ID: Stage, Name: "go on", Help: "make what was chosen a draft, and review it", Group: GroupChange, Keys: []string{"ctrl+s"}},
		{ID: Delete, Name: "delete...", Help: "delete this name; earlier versions stay where they are kept", Group: GroupChange, Keys: []string{"d"}, Harm: kit.Destroys},
		{ID: DeleteSecret, Name: "delete secret...", Help: "delete the whole secret, with all its fields", Group: GroupChange, Keys: []string{"delete"}, Harm: kit.Destroys},

		{ID: RunLine, Name: "run...", Help: "run a command with the secrets of this environment, and come back", Group: GroupApp, Keys: []string{"$"}},
		{ID: SealIt, Name: "seal...", Help: "move the checkpoint to what is there now, after checking it", Group: GroupChange, Keys: []string{"s"}, Harm: kit.Writes},

		{ID: AskAccess, Name: "request", Help: "ask for access to this environment", Group: GroupAccess, Keys: []string{"R"}},
		{ID: SendRequest, Name: "send...", Help: "write the request", Group: GroupAccess, Keys: []string{"ctrl+s"}, Harm: kit.Writes},
		{ID: TakeBack, Name: "take back...", Help: "remove your own request", Group: GroupAccess, Keys: []string{"X"}, Harm: kit.Writes},
		{ID: Approve, Name: "approve...", Help: "let them in, after comparing the check code", Group: GroupAccess, Keys: []string{"a"}, Harm: kit.Grants},
		{ID: Deny, Name: "deny...", Help: "remove the request without granting it", Group: GroupAccess, Keys: []string{"x"}, Harm: kit.Writes},
		{ID: AddMember, Name: "add...", Help: "let somebody in whose public key you have", Group: GroupAccess, Keys: []string{"n"}, Harm: kit.Grants},
		{ID: MarkMember, Name: "mark", Help: "mark a member, or not any more", Group: GroupAccess, Keys: []string{"space"}},
		{ID: RemoveMember, Name: "remove...", Help: "take access away: a new key, and a list of what they could read", Group: GroupAccess, Keys: []string{"d"}, Harm: kit.Destroys},
		{ID: NewEnvKey, Name: "new key...", Help: "give the environment a new key that the same members hold", Group: GroupAccess, Keys: []string{"T"}, Harm: kit.Destroys},
		{ID: Sweep, Name: "sweep...", Help: "make time limits true: a new key without those whose time is over", Group: GroupAccess, Keys: []string{"W"}, Harm: kit.Destroys},
		{ID: TrustKey, Name: "accept key...", Help: "have this machine take the key that the environment has now", Group: GroupAccess, Keys: []string{"a"}, Harm: kit.Grants},
		{ID: CopySteps, Name: "copy commands", Help: "copy the commands that are left to be given", Group: GroupAccess, Keys: []string{"p"}},
		{ID: CopyPublic, Name: "copy public key", Help: "copy your public key, for somebody who lets you in", Group: GroupAccess, Keys: []string{"p"}},
		{ID: DoSignIn, Name: "sign in", Help: "sign in to the server, or again before the session ends; nothing is lost by it", Group: GroupAccess, Keys: []string{"ctrl+r"}},
		{ID: DoSignOut, Name: "sign out...", Help: "end the session, here and at the server", Group: GroupAccess, Keys: []string{"Q"}, Harm: kit.Writes},
		{ID: OtherAccount, Name: "account", Help: "use another account that is signed in here", Group: GroupAccess, Keys: []string{"a"}},
		{ID: Check, Name: "check", Help: "check every record, and that nothing sealed is missing", Group: GroupLook, Keys: []string{"c"}},

		{ID: Palette, Name: "commands", Help: "find an action or an environment by name", Group: GroupApp, Keys: []string{":"}},
		{ID: Help, Name: "keys", Help: "the keys that work here, and why others do not", Group: GroupApp, Keys: []string{"?", "f1"}},
		{ID: Details, Name: "details", Help: "all of the last message", Group: GroupApp, Keys: []string{"!"}},
		{ID: Reload, Name: "reload", Help: "read again", Group: GroupApp, Keys: []string{"r"}},
		{ID: Share, Name: "share mode", Help: "somebody is watching: no value is shown; again, no names either; again, off", Group: GroupApp, Keys: []string{"P"}},
		{ID: Mouse, Name: "mouse", Help: "use the mouse here, or leave it to the terminal", Group: GroupApp, Keys: []string{"m"}},
		{ID: NextTheme, Name: "theme", Help: "next of dark, light, contrast, mono", Group: GroupApp},
		{ID: Lock, Name: "lock", Help: "hide everything until unlocked, empty the clipboard", Group: GroupApp, Keys: []string{"ctrl+l"}},
		{ID: Suspend, Name: "suspend", Help: "stop envrun, as in any shell; nothing stays on the screen", Group: GroupApp, Keys: []string{"ctrl+z"}},
		{ID: Quit, Name: "quit", Help: "back, and on the first screen out", Group: GroupApp, Keys: []string{"q"}},
		{ID: Interrupt, Name: "quit now", Help: "leave at once; asks if there are changes that were not sent", Group: GroupApp, Keys: []string{"ctrl+c"}},
		{ID: Unlock, Name: "unlock", Help: "go on where it was locked", Group: GroupApp, Keys: []string{"enter"}},
	}
}

// moves are the offers of every list.
func moves() []kit.Offer {
	return []kit.Offer{{ID: Down}, {ID: Up}, {ID: First}, {ID: Last}, {ID: PageUp}, {ID: PageDown}, {ID: HalfUp}, {ID: HalfDown}}
}

// move does an action of moves on a list, and reports whether it was one.
func move(l *kit.List, action string) bool {
	switch action {
	case Up:
		l.Move(-1)
	case Down:
		l.Move(1)
	case First:
		l.First()
	case Last:
		l.Last()
	case PageUp:
		l.Page(-1)
	case PageDown:
		l.Page(1)
	case HalfUp:
		l.Half(-1)
	case HalfDown:
		l.Half(1)
	default:
		return false
	}
	return true
}

// ofTarget is what the actions on a screen's target want done.
func ofTarget(action string) Effect {
	switch action {
	case ShowHide:
		return Reveal{}
	case Peek:
		return PeekAt{}
	}
	return Copy{}
}
