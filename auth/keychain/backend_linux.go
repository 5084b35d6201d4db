package keychain

func backendOf(name string, o Options) backend {
	switch name {
	case SecretService:
		return newSecretService(o)
	case Kernel:
		return kernel{o.service()}
	case Pass:
		return newPass(o)
	}
	panic("keychain: no backend for " + name) // Names and this switch must agree
}
