package draft

import (
	"io"
	"math"

	"envrun/vault"
)

// An Alphabet is what a generated value is made of.
type Alphabet struct {
	Name  string
	Chars string // ASCII, none twice, 2 to 256
}

// Alphabets are those that are offered. The signs are such that no shell, no
// dotenv reader and no URL makes anything else of them.
func Alphabets() []Alphabet {
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return []Alphabet{
		{"letters, digits", lower + upper + digits},
		{"with signs", lower + upper + digits + "-._~"},
		{"hex", digits + "abcdef"},
		{"digits", digits},
	}
}

// Least and most characters of a generated value.
const (
	MinLength = 8
	MaxLength = 4096
)

// A Recipe is what a generated value is like.
type Recipe struct {
	Length   int
	Alphabet Alphabet
}

// Bits is how many bits of a value cannot be guessed.
func (r Recipe) Bits() int {
	return int(float64(r.Length) * math.Log2(float64(len(r.Alphabet.Chars))))
}

// Generate gives a field a random value.
func (d *Draft) Generate(name vault.FieldName, r Recipe) error {
	if d.fixed() {
		return errFixed
	}
	value := make([]byte, r.Length)
	defer clear(value)
	if err := fill(value, r.Alphabet.Chars, d.set.random); err != nil {
		return err
	}
	d.setValue(name, value)
	return nil
}

// fill draws each character with the same chance: a byte that would favour the
// first ones is drawn again.
func fill(value []byte, chars string, random io.Reader) error {
	most := 256 - 256%len(chars)
	var drawn [64]byte
	defer clear(drawn[:])
	for i := 0; i < len(value); {
		if _, err := io.ReadFull(random, drawn[:]); err != nil {
			return err
		}
		for _, b := range drawn {
			if int(b) < most && i < len(value) {
				value[i] = chars[int(b)%len(chars)]
				i++
			}
		}
	}
	return nil
}
