package policy

import (
	"math/bits"
	"slices"
	"strings"
)

// Caps is a set of capabilities: what a rule gives, or that it denies.
type Caps uint16

const (
	Create Caps = 1 << iota
	Read
	Update
	Patch
	Delete
	List
	Sudo // in addition to the others, on the paths of NeedsSudo
	Deny // and nothing else
	// Words of other servers. They are read and shown, and no request asks for them.
	Recover
	Scan
	Subscribe
)

// Writes are the capabilities that change something.
const Writes = Create | Update | Patch | Delete

// capNames has the word of each bit, in their order.
var capNames = [...]string{"create", "read", "update", "patch", "delete", "list", "sudo", "deny", "recover", "scan", "subscribe"}

// ParseCap reads one word of a capabilities list; false if there is no such capability.
func ParseCap(word string) (Caps, bool) {
	i := slices.Index(capNames[:], word)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// Has says whether all of want is in the set.
func (c Caps) Has(want Caps) bool { return c&want == want }

// Names are the words of the set, sorted, as the capabilities calls of the API
// answer them: "deny" alone for a set that denies or is empty.
func (c Caps) Names() []string {
	if c == 0 || c.Has(Deny) {
		return []string{"deny"}
	}
	names := make([]string, 0, bits.OnesCount16(uint16(c)))
	for i, name := range capNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// String is Names with commas between.
func (c Caps) String() string { return strings.Join(c.Names(), ", ") }

// An Op is what a request asks to do. The zero Op is no operation and is
// always refused.
type Op uint8

const (
	OpRead   Op = iota + 1 // GET
	OpCreate               // POST or PUT of what is not there
	OpUpdate               // POST or PUT, also where nobody can tell whether it is there
	OpPatch                // PATCH
	OpDelete               // DELETE
	OpList                 // LIST; the path ends in a slash
	OpHelp                 // ?help=1
)

var opCaps = [...]Caps{OpRead: Read, OpCreate: Create, OpUpdate: Update, OpPatch: Patch, OpDelete: Delete, OpList: List, OpHelp: 0}

// Cap is the capability that the operation needs: none for OpHelp and for what is no operation.
func (o Op) Cap() Caps {
	if int(o) >= len(opCaps) {
		return 0
	}
	return opCaps[o]
}

// ParseOp reads the word of an operation, which is that of its capability, or "help".
func ParseOp(word string) (Op, bool) {
	if word == "help" {
		return OpHelp, true
	}
	c, ok := ParseCap(word)
	if !ok {
		return 0, false
	}
	i := slices.Index(opCaps[:], c)
	return Op(max(i, 0)), i > 0
}

func (o Op) String() string {
	switch c := o.Cap(); {
	case c != 0:
		return capNames[bits.TrailingZeros16(uint16(c))]
	case o == OpHelp:
		return "help"
	}
	return "no operation"
}

// list is the set as a policy writes it.
func (c Caps) list() string { return `capabilities = ["` + strings.Join(c.Names(), `", "`) + `"]` }
