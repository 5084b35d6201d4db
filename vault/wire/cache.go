package wire

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// CacheHeader is a header of our own server's answers. It says how long a client
// may use what it read of a mount while the server cannot be reached, 0 for not
// at all. Without it the client's own setting counts.
const CacheHeader = "X-Envrun-Cache"

// CacheOption is the option of a mount that CacheHeader is made from: a duration,
// or "off".
const CacheOption = "envrun-cache"

// MaxCache is the longest that a cache can be used: what it would take longer to
// miss is for a backup, not for a cache.
const MaxCache = 30 * 24 * time.Hour

// ParseCache reads a duration of whole seconds up to MaxCache, "24h", or "off".
func ParseCache(s string) (time.Duration, bool) {
	if s == "off" {
		return 0, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0 && d <= MaxCache && d%time.Second == 0
}

// CacheText is the value of CacheHeader for a mount.
func CacheText(mount string, d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10) + " " + url.PathEscape(strings.TrimSuffix(mount, "/"))
}

// ReadCacheText reads it. What is not of its form is 0: whoever wrote it meant to
// limit something.
func ReadCacheText(s string) (mount string, d time.Duration) {
	number, mount, _ := strings.Cut(s, " ")
	if m, err := url.PathUnescape(mount); err == nil {
		mount = m
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 0 {
		n = 0
	}
	return mount, min(time.Duration(n)*time.Second, MaxCache)
}
