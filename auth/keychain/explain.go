package keychain

import "encoding/base64"

// What macOS and Windows report, sorted. It stands apart from the code that
// calls them so that it is tested on every system.

// winCredLimit is CRED_MAX_CREDENTIAL_BLOB_SIZE.
const winCredLimit = 2560

// macOSLimit is what fits into the one line of 4,096 bytes that go-keyring
// hands to "security -i", after base64.
func macOSLimit(service, key string) int {
	const line = 4096
	const rest = len("add-generic-password -U -s '' -a '' -w 'go-keyring-base64:'\n")
	room := line - rest - len(service) - len(key)
	if room <= 0 {
		return 0
	}
	return room / 4 * base64.StdEncoding.DecodedLen(4)
}

// explainSecurity sorts exit statuses of /usr/bin/security, which are the low
// byte of its OSStatus.
func explainSecurity(status int, err error, ssh bool) error {
	u := &UnavailableError{Keychain: MacOS, Err: err}
	switch status {
	case 36: // errSecInteractionNotAllowed -25308
		u.Reason, u.Locked = "the keychain is locked and nothing here can ask for its password", true
		u.Hint = "unlock it with: security unlock-keychain"
	case 51, 128: // errSecAuthFailed -25293, userCanceledErr -128
		u.Reason, u.Locked = "the keychain was not unlocked", true
		u.Hint = "unlock it with: security unlock-keychain"
	case 50: // errSecNoSuchKeychain -25294
		u.Reason = "there is no login keychain"
		u.Hint = "make one in Keychain Access, or sign in on the machine itself once"
	default:
		u.Reason = "the keychain reports an error"
		if ssh {
			u.Hint = "over SSH it is usually locked; unlock it with: security unlock-keychain"
		}
	}
	return u
}

// Error numbers of Windows.
const (
	errNoSuchLogonSession uint32 = 1312 // ERROR_NO_SUCH_LOGON_SESSION
	errBadStubData        uint32 = 1783 // RPC_X_BAD_STUB_DATA
	errAccessDenied       uint32 = 5    // ERROR_ACCESS_DENIED
)

func explainWinCred(code uint32, err error) error {
	u := &UnavailableError{Keychain: WinCred, Err: err}
	switch code {
	case errNoSuchLogonSession:
		u.Reason = "this session has no credentials of its own, as over SSH or in a service"
		u.Hint = "sign in on the machine itself, or choose another store"
	case errBadStubData:
		u.Reason = "the Credential Manager does not take a secret of this size"
	case errAccessDenied:
		u.Reason = "the Credential Manager is closed to this process"
	default:
		u.Reason = "the Credential Manager reports an error"
	}
	return u
}
