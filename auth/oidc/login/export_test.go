package login

import (
	"time"

	"envrun/auth/strictjson"
)

// ParseDevice reads the answer of a device endpoint as Device does.
func ParseDevice(text []byte) (shown Code, interval, life time.Duration, err error) {
	all, err := strictjson.Object(text, strictjson.Limits{Depth: 8, Values: 1000})
	if err != nil {
		return Code{}, 0, 0, err
	}
	d, err := parseDevice(all, false)
	return d.shown, d.interval, d.life, err
}
