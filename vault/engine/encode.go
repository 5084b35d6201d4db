package engine

import (
	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// EncodeRecord seals fields, sorted by name, under a fresh data key and marshals
// r, which gets its Fields, Key and MAC here and has all else. r.Gen is key's.
// That a reader is given it back is for the caller to try.
func EncodeRecord(key EnvKey, r *record.Record, fields []vault.Field) ([]byte, error) {
	dek, err := seal.NewDEK()
	if err != nil {
		return nil, err
	}
	b := binding(r)
	for _, f := range fields {
		sealed, err := dek.SealField(b, f.Name, f.Value)
		if err != nil {
			return nil, withField(err, f.Name)
		}
		r.Fields = append(r.Fields, record.Field{Name: f.Name, Since: f.Since, Sealed: sealed})
	}
	if r.Key, err = key.Key.WrapDEK(b, dek); err != nil {
		return nil, err
	}
	r.MAC = dek.RecordMAC(r.MACInput())
	return r.Encode()
}

// DecodeRecord opens what EncodeRecord made under the same key: KindTampered
// otherwise. Whether it is the record of the vault, the environment and the path
// that were asked for, the caller looks at.
func DecodeRecord(key EnvKey, raw []byte) (*record.Record, []vault.Field, error) {
	r, err := record.ParseRecord(raw)
	if err != nil {
		return nil, nil, err
	}
	if r.Gen != key.Gen {
		return nil, nil, wrongGeneration(r, key.Gen)
	}
	dek, err := authentic(key, r, raw)
	if err != nil {
		return nil, nil, err
	}
	fields, err := openFields(r, dek)
	return r, fields, err
}

// authentic unwraps the data key of a record and checks the MAC under it. raw is
// what r was read from.
func authentic(key EnvKey, r *record.Record, raw []byte) (seal.DEK, error) {
	dek, err := key.Key.UnwrapDEK(binding(r), r.Key)
	if err != nil {
		return seal.DEK{}, err
	}
	input, err := record.AboveMAC(raw)
	if err != nil {
		return seal.DEK{}, err
	}
	if !dek.CheckRecordMAC(input, r.MAC) {
		return seal.DEK{}, tampered("was changed by somebody without the key")
	}
	return dek, nil
}

func binding(r *record.Record) seal.Binding {
	return seal.Binding{Vault: r.Vault, Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen}
}

// openFields opens every field, in the order of the record.
func openFields(r *record.Record, dek seal.DEK) ([]vault.Field, error) {
	b := binding(r)
	fields := make([]vault.Field, len(r.Fields))
	for i, f := range r.Fields {
		value, err := dek.OpenField(b, f.Name, f.Sealed)
		if err != nil {
			return nil, withField(err, f.Name)
		}
		fields[i] = vault.Field{Name: f.Name, Since: f.Since, Value: value}
	}
	return fields, nil
}
