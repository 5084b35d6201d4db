package project

// Keys are all that a project file may hold, by the table, for the test of its page.
var Keys = map[string][]string{
	"the top": topKeys, "[env.NAME]": envKeys, "[[inject]]": injectKeys, "[[file]]": fileKeys, "[ci]": ciKeys, "[sign_in]": signInKeys,
}
