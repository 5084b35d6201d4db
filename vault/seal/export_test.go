package seal

// What the tests outside need to see.
var (
	Pad    = pad
	Unpad  = unpad
	Bucket = bucket
)
