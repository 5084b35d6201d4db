package vaulttest_test

import (
	"testing"

	"envrun/vault"
	"envrun/vault/vaulttest"
)

func TestMemoryVault(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault { return vaulttest.New(t) })
}

func TestMemoryVaultSealedOnWrite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		v := vaulttest.New(t)
		v.Engine.SealOnWrite = true
		return v
	})
}

func TestMemoryVaultWithoutHistory(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		v := vaulttest.New(t)
		v.Memory.HeadsOnly = true
		return v
	})
}
