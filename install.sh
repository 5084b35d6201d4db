#!/bin/sh
# Installs envrun: the program, completions for bash, zsh, fish and PowerShell,
# and the man pages, into a prefix that needs no root.
#
#   ./install.sh                       in a checkout: builds with the Go that is there
#   ./install.sh --from ARCHIVE        from a release archive, after its SHA-256 was verified
#                                      against SHA256SUMS beside it (or --sha256 SUM)
#   ./install.sh --uninstall           removes what an install put there, and nothing else
#
# In an unpacked release archive ./install.sh verifies every file against the
# SHA256SUMS in it and installs them.
#
# Reads: PREFIX (default ~/.local), SHELL and PATH (to say what line is missing).
# Writes nothing outside PREFIX and a temporary folder; edits no shell profile.

set -eu

main() {
	prefix=${PREFIX:-}
	action=install
	archive=
	sum=
	while [ $# -gt 0 ]; do
		case $1 in
		--prefix) [ $# -ge 2 ] || die "--prefix needs a folder" "./install.sh --prefix ~/.local"; prefix=$2; shift ;;
		--prefix=*) prefix=${1#--prefix=} ;;
		--from) [ $# -ge 2 ] || die "--from needs an archive" "./install.sh --from envrun_1.0_linux_amd64.tar.gz"; archive=$2; shift ;;
		--from=*) archive=${1#--from=} ;;
		--sha256) [ $# -ge 2 ] || die "--sha256 needs a sum" "./install.sh --from ARCHIVE --sha256 SUM"; sum=$2; shift ;;
		--sha256=*) sum=${1#--sha256=} ;;
		--uninstall) action=uninstall ;;
		-h | --help) usage; return 0 ;;
		*) die "unknown argument: $1" "./install.sh --help" ;;
		esac
		shift
	done
	if [ -z "$prefix" ]; then
		[ -n "${HOME:-}" ] || die "HOME is not set, so there is no default place to install to" "PREFIX=/some/folder ./install.sh"
		prefix=$HOME/.local
	fi
	case $prefix in
	/*) ;;
	*) prefix=$(pwd)/$prefix ;;
	esac
	manifest=$prefix/share/envrun/installed-files

	if [ $action = uninstall ]; then
		uninstall
		return 0
	fi

	platform
	here=$(cd "$(dirname "$0")" && pwd)
	work=$(mktemp -d "${TMPDIR:-/tmp}/envrun-install.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM

	if [ -n "$archive" ]; then
		unpack
	elif [ -f "$here/SHA256SUMS" ] && [ -f "$here/envrun$exe" ]; then
		stage=$here
		(cd "$stage" && sha256_check SHA256SUMS) || die "a file of this archive does not match its SHA-256: the download is damaged or was changed" "download the archive again"
	elif [ -f "$here/go.mod" ] && grep -q '^module envrun$' "$here/go.mod"; then
		build
	else
		die "this is neither a checkout nor an unpacked release of envrun" "./install.sh --from ARCHIVE.tar.gz"
	fi
	put_all
	report
}

usage() {
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

say() { printf '%s\n' "$*" >&2; }

die() {
	say "install.sh: $1"
	[ $# -lt 2 ] || say "hint: $2"
	exit 1
}

# platform sets os, arch and exe, or says what is not supported.
platform() {
	exe=
	case $(uname -s) in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	MINGW* | MSYS* | CYGWIN*) os=windows; exe=.exe ;;
	*) die "$(uname -s) is not supported; Linux, macOS and Windows (Git Bash, MSYS2) are" ;;
	esac
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) die "$(uname -m) is not supported; x86_64 (amd64) and arm64 are" ;;
	esac
}

build() {
	go=$(command -v go || true)
	[ -n "$go" ] || [ ! -x /usr/local/go/bin/go ] || go=/usr/local/go/bin/go
	[ -n "$go" ] || die "no Go here to build with; envrun needs Go 1.26 or newer" "install Go from https://go.dev/dl, or use a release archive: ./install.sh --from ARCHIVE"
	# An older Go fetches the toolchain that go.mod asks for, unless it was told not to.
	have=$(cd "$here" && "$go" env GOVERSION 2>/dev/null) || die "this Go cannot build envrun: go.mod asks for 1.26 or newer" "install Go from https://go.dev/dl"
	version=$(cd "$here" && git describe --tags --always --dirty 2>/dev/null || echo dev)
	say "building envrun $version with $have …"
	stage=$work/stage
	mkdir -p "$stage"
	(cd "$here" && CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w -X main.version=$version" -o "$stage/envrun$exe" ./cmd/envrun) || die "the build failed, see above; nothing was installed"
	cp -R "$here/completions" "$stage/completions"
	cp -R "$here/docs/man" "$stage/man"
}

unpack() {
	[ -f "$archive" ] || die "no such file: $archive"
	case $archive in
	*_"${os}_${arch}".tar.gz) ;;
	*_*_*.tar.gz) die "$(basename "$archive") is not for this machine, which is ${os}_${arch}" ;;
	*) die "$(basename "$archive") is no release archive: envrun_VERSION_OS_ARCH.tar.gz" ;;
	esac
	if [ -z "$sum" ]; then
		sums=$(dirname "$archive")/SHA256SUMS
		[ -f "$sums" ] || die "there is no SHA256SUMS beside $archive to verify it against" "download SHA256SUMS from the same release, or pass --sha256 SUM"
		name=$(basename "$archive")
		sum=$(while read -r s n; do [ "$n" != "$name" ] && [ "$n" != "*$name" ] || printf '%s' "$s"; done <"$sums")
		[ -n "$sum" ] || die "$sums does not name $name"
	fi
	got=$(sha256 "$archive")
	[ "$got" = "$(printf '%s' "$sum" | tr 'A-F' 'a-f')" ] || die "the SHA-256 of $archive is $got, not $sum: the download is damaged or was changed" "download it again"
	mkdir "$work/archive"
	tar -xzf "$archive" -C "$work/archive" || die "cannot unpack $archive"
	stage=$work/archive/$(ls "$work/archive")
	[ -f "$stage/envrun$exe" ] || die "there is no envrun in $archive"
}

sha256() {
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum "$1" | cut -d' ' -f1
	elif command -v shasum >/dev/null 2>&1; then
		shasum -a 256 "$1" | cut -d' ' -f1
	else
		die "neither sha256sum nor shasum is here to verify the download with"
	fi
}

sha256_check() {
	if command -v sha256sum >/dev/null 2>&1; then
		sha256sum -c "$1" >/dev/null
	elif command -v shasum >/dev/null 2>&1; then
		shasum -a 256 -c "$1" >/dev/null
	else
		die "neither sha256sum nor shasum is here to verify the files with"
	fi
}

# put MODE FROM TO installs one file whole: a copy beside it, then a rename, so
# that a running envrun keeps its own file and half a copy is never in place.
put() {
	mkdir -p "$(dirname "$3")" || die "cannot make the folder $(dirname "$3")" "./install.sh --prefix FOLDER"
	cp "$2" "$3.new.$$" 2>/dev/null || die "cannot write to $(dirname "$3")" "./install.sh --prefix FOLDER"
	chmod "$1" "$3.new.$$"
	mv -f "$3.new.$$" "$3"
	printf '%s\n' "$3" >>"$work/manifest"
}

put_all() {
	for f in "envrun$exe" completions/envrun.bash completions/envrun.zsh completions/envrun.fish completions/envrun.ps1 man; do
		[ -e "$stage/$f" ] || die "$f is missing from $stage; nothing was installed"
	done
	: >"$work/manifest"
	put 755 "$stage/envrun$exe" "$prefix/bin/envrun$exe"
	put 644 "$stage/completions/envrun.bash" "$prefix/share/bash-completion/completions/envrun"
	put 644 "$stage/completions/envrun.zsh" "$prefix/share/zsh/site-functions/_envrun"
	put 644 "$stage/completions/envrun.fish" "$prefix/share/fish/vendor_completions.d/envrun.fish"
	put 644 "$stage/completions/envrun.ps1" "$prefix/share/envrun/envrun.ps1"
	for page in "$stage"/man/*.1; do
		put 644 "$page" "$prefix/share/man/man1/$(basename "$page")"
	done
	# What a former version installed and this one does not have goes.
	if [ -f "$manifest" ]; then
		while IFS= read -r old; do
			grep -qxF "$old" "$work/manifest" || rm -f "$old"
		done <"$manifest"
	fi
	put 644 "$work/manifest" "$manifest"
}

uninstall() {
	[ -f "$manifest" ] || die "there is no installation below $prefix" "./install.sh --uninstall --prefix FOLDER"
	while IFS= read -r file; do
		case $file in
		"$prefix"/*) rm -f "$file" ;;
		*) say "left alone, not below $prefix: $file" ;;
		esac
	done <"$manifest"
	rm -f "$manifest"
	rmdir "$prefix/share/envrun" 2>/dev/null || true
	say "removed envrun from $prefix; your identity and settings stay where they are (envrun's own folder in ~/.config)"
}

report() {
	say "installed $("$prefix/bin/envrun$exe" version) as $prefix/bin/envrun$exe"
	case :$PATH: in
	*:"$prefix/bin":*)
		first=$(command -v envrun || true)
		[ -z "$first" ] || [ "$first" = "$prefix/bin/envrun$exe" ] || say "note: another envrun comes first in PATH: $first"
		;;
	*)
		say "$prefix/bin is not in PATH; add this line to your shell's profile:"
		case ${SHELL:-} in
		*/fish) say "    fish_add_path $prefix/bin" ;;
		*) say "    export PATH=\"$prefix/bin:\$PATH\"" ;;
		esac
		;;
	esac
	case ${SHELL:-} in
	*/zsh) say "completions for zsh need this line before compinit in ~/.zshrc:"
		say "    fpath=($prefix/share/zsh/site-functions \$fpath)" ;;
	esac
	if [ "$os" = windows ] || command -v pwsh >/dev/null 2>&1; then
		say "completions for PowerShell: add this line to \$PROFILE:"
		say "    . $prefix/share/envrun/envrun.ps1"
	fi
}

main "$@"
