package seal

// The sizes that a padded value has (filevault §3.4): 64, 128, 256 … 4,096
// bytes, then steps of 4,096, so that a file shows little of how long a
// password is.
const (
	smallestBucket = 64
	bucketStep     = 4096
)

// bucket is the padded size of a value of n bytes, which needs n+1 for the mark behind it.
func bucket(n int) int {
	n++
	if n > bucketStep {
		return (n + bucketStep - 1) / bucketStep * bucketStep
	}
	b := smallestBucket
	for b < n {
		b *= 2
	}
	return b
}

// pad returns value ‖ 0x80 ‖ 0x00… in new memory.
func pad(value []byte) []byte {
	p := make([]byte, bucket(len(value)))
	p[copy(p, value)] = 0x80
	return p
}

// unpad undoes pad, in place. It accepts only what pad makes. The bytes have
// been authenticated by then, so it need not run in constant time.
func unpad(p []byte) (value []byte, ok bool) {
	n := len(p) - 1
	for n >= 0 && p[n] == 0 {
		n--
	}
	if n < 0 || p[n] != 0x80 || len(p) != bucket(n) {
		return nil, false
	}
	return p[:n:n], true
}
