// Package environ holds the environment of a process as a value, the rules for
// what may be in it, and the formats in which variables are written down.
//
// It refuses to guess and to leak. What a file means that its own reader would
// read otherwise is a Note or an error, never a silent choice; no error and no
// note holds a value or a line of a file, because any piece of a broken file
// may be a secret; and what a format cannot hold is not written. It expands no
// $NAME and runs no $(command): a secret with a "$" in it is far more common
// than a secret that is put together, and which environment it would be put
// together from is not ours to say.
//
// # Reading dotenv files
//
// There is no standard, so a Dialect follows one reader, by its source and
// checked against the program: npm dotenv 16 and 17, gem dotenv 3.2,
// python-dotenv 1.2, Docker Compose v2 (compose-go 2.16), docker run
// --env-file. What they make of a line:
//
//	                     node         compose      ruby         python       docker
//	A=x # c              x            x            x            x            x # c
//	A=x#c                x            x#c          x            x#c          x#c
//	A= # c               (empty)      # c          (empty)      # c           # c
//	A='x'  A="x"         x            x            x            x            quotes kept
//	A=`x`                x            `x`          `x`          `x`          `x`
//	A="a\nb"             line end     line end     a\nb         line end     as written
//	A="a\tb"             a\tb         tab          atb          tab          as written
//	A='it\'s'            it\'s        it's         it\'s        it's         as written
//	A=a\tb               a\tb         a\tb         atb          a\tb         a\tb
//	over several lines   in quotes    in quotes    in quotes    in quotes    no
//	A = x                x            x            x            x            refused
//	export A=x           x            x            x            x            refused
//	A: x                 x            x            x            refused      refused
//	$B ${B} ${B:-x}      kept         note         note         ${} note     kept
//	$B in '...'          kept         kept         kept         ${} note     kept
//	$(cmd)               kept         kept         note         kept         kept
//	\$B in "..."         \$B          $B           $B           \$B          as written
//	$$                   $$           $            $$           $$           $$
//	A-B  A.B as names    both         both         A.B          both         both
//
// "note" is NoteExpansion: the reader would put something else there, and the
// text is kept. In all dialects: a byte order mark is dropped; CRLF ends a
// line; of a name given twice the last counts (NoteDuplicate); a line with no
// more than a name, by which Docker and Compose pass on a variable of their own
// environment, has no value here (NoteNoValue); UTF-16, invalid UTF-8 and NUL
// are refused.
//
// Where the readers themselves skip a line without a word or keep half of a
// pair of quotes, we refuse the line: one that is no assignment, a value whose
// first quote does not end it, text behind a closing quote.
//
// DialectAuto takes Node's reading and says with NoteAmbiguous where compose,
// ruby or python would read another value. Docker's is not compared: its files
// are another format under the same name.
//
// # Reading other files
//
// JSON is one object of strings, numbers and booleans; numbers stay as written,
// null is a NoteNoValue. A name given twice, an object or a list as a value and
// half of a surrogate pair are refused. Nothing is flattened: there is no one
// way to make a name of a path.
//
// YAML is one document with one mapping of scalars. Strings are as YAML reads
// them; numbers, booleans and dates stay as written, so that 0o14, 1.10 and NO
// survive; !!binary is decoded. Anchors, aliases and << are followed. A second
// document, a name given twice and a tag of some program are refused.
//
// Compose is the environment of one service, as a mapping or a list, the name
// of which is needed if several have one (ChooseError). $$ is $, as Compose
// reads it; any other expansion is a note. env_file, extends and include are
// not followed, with a NoteSkipped.
//
// K8s are the Secrets and ConfigMaps among the documents and List items of a
// file, or the one that is named. data of a Secret and binaryData of a
// ConfigMap are base64, and stringData wins over data, as in Kubernetes. A name
// in two objects is a ChooseError; other kinds are a NoteSkipped.
//
// # Writing
//
// See Export: what is written is what the format's own reader gets back, byte
// for byte. For dotenv that is tried and not assumed: a spelling of a value is
// taken only if every reader that counts gives the value back. The files that
// DialectAuto makes are read alike by Node's own --env-file too.
package environ
