package remote

// For the tests of how values and facts are written for others to see.
var (
	EncodeValue = encodeValue
	DecodeValue = decodeValue
	WriteSince  = writeSince
	ReadSince   = readSince
	PatchParts  = patchParts
	JoinParts   = joinParts
)
