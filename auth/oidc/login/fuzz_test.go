package login_test

import (
	"strings"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/oidc/login"
)

// Whatever an issuer answers, what is shown is short and of the web, and what is
// waited for is within bounds.
func FuzzDevice(f *testing.F) {
	for _, s := range []string{
		`{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://id.example.test/device","verification_uri_complete":"https://id.example.test/device?c=1","expires_in":600,"interval":5}`,
		`{"device_code":"d","user_code":"A","verification_url":"https://x.test","interval":-1,"expires_in":1e300}`,
		`{"device_code":"d","user_code":"A","verification_uri":"https://x.test","interval":1e-400,"expires_in":0.1}`,
		`{"device_code":"d","user_code":"A","verification_uri":"javascript:alert(1)","interval":"5"}`,
		`{"device_code":1,"user_code":[],"verification_uri":{}}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		shown, interval, life, err := login.ParseDevice(text)
		if err != nil {
			if shown != (login.Code{}) {
				t.Errorf("%q gave both %+v and %v", text, shown, err)
			}
			return
		}
		if interval < time.Second || interval > time.Minute || life <= 0 || life > 30*time.Minute {
			t.Errorf("%q is asked each %s for %s", text, interval, life)
		}
		if !auth.Plain(shown.UserCode, 32) || !strings.HasPrefix(strings.ToLower(shown.URI), "https://") || !auth.Plain(shown.URI, 2048) || shown.CompleteURI != "" && !strings.HasPrefix(strings.ToLower(shown.CompleteURI), "https://") {
			t.Errorf("%q shows %+v", text, shown)
		}
	})
}
