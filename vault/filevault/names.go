package filevault

import (
	"strings"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// The folders and endings of the vault's files (filevault §3.2).
const (
	envsDir     = "envs"
	requestsDir = "requests"
	secretsDir  = "secrets"
	exposedDir  = "exposed"

	secretSuffix  = ".sec"
	grantSuffix   = ".grant"
	requestSuffix = ".req"
	listSuffix    = ".list"
	genFile       = "gen"
)

// envDir is the folder of an environment, which must have come from ParseEnv.
func envDir(env vault.Env) string { return envsDir + "/" + string(env) }

// secretName is the file of a secret. The suffix lets "billing" be a secret
// and a folder of secrets; so a folder must not end in it.
func secretName(env vault.Env, path vault.Path) (string, error) {
	if _, err := vault.ParsePath(string(path)); err != nil {
		return "", err
	}
	if strings.Contains(string(path), secretSuffix+"/") {
		return "", &vault.Error{Kind: vault.KindInvalid, Path: path, Detail: "a segment before the last must not end in " + secretSuffix + ", which the files of secrets do"}
	}
	return envDir(env) + "/" + secretsDir + "/" + string(path) + secretSuffix, nil
}

// checkEnv refuses a name that ParseEnv would: such an environment is nowhere.
func checkEnv(env vault.Env) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return &vault.Error{Kind: vault.KindNoEnv, Env: env, Err: err}
	}
	return nil
}

// blobName is the file of a blob.
func blobName(env vault.Env, name string) (string, error) {
	for seg := range strings.SplitSeq(name, "/") {
		if !plainSegment(seg) {
			return "", &vault.Error{Kind: vault.KindInvalid, Env: env, Detail: "a blob has a name that no file of a vault has"}
		}
	}
	if name == secretsDir || strings.HasPrefix(name, secretsDir+"/") {
		return "", &vault.Error{Kind: vault.KindInvalid, Env: env, Detail: "a secret is not a blob"}
	}
	return envDir(env) + "/" + name, nil
}

// maxSize is how large the file of a blob may be.
func maxSize(name string) int64 {
	switch {
	case name == engine.SealBlob:
		return record.MaxSealSize
	case strings.HasSuffix(name, "/"+genFile):
		return record.MaxGenSize
	case strings.HasSuffix(name, grantSuffix):
		return record.MaxGrantSize
	case strings.HasSuffix(name, requestSuffix):
		return record.MaxRequestSize
	}
	return record.MaxExposedSize
}
