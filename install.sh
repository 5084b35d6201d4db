#!/bin/sh
# Installs envrun: the program, completions for bash, zsh, fish and PowerShell,
# and the man pages, into a prefix that needs no root. With --server it installs
# envrund, the team server, likewise; the two are installed and removed apart.
#
#   ./install.sh                       in a checkout: builds with the Go that is there
#   ./install.sh --from ARCHIVE        from a release archive, after its SHA-256 was verified
#                                      against SHA256SUMS beside it (or --sha256 SUM)
#   ./install.sh --uninstall           removes what an install put there, and nothing else
#   ./install.sh --server …            envrund, in place of envrun; an archive of it needs no --server
#
# In an unpacked release archive ./install.sh verifies every file against the
# SHA256SUMS in it and installs them.
#
# Reads: PREFIX (default ~/.local), SHELL and PATH (to say what line is missing).
# Writes nothing outside PREFIX and a temporary folder, but for what Go keeps of
# a build in its own cache; edits no shell profile.

set -eu

main() {
	prefix=${PREFIX:-}
	program=envrun
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
		--server) program=envrund ;;
		-h | --help) usage; return 0 ;;
		*) die "unknown argument: $1" "./install.sh --help" ;;
		esac
		shift
	done
	[ -z "$sum" ] || [ -n "$archive" ] || die "--sha256 is the sum of an archive, and none is named" "./install.sh --from ARCHIVE --sha256 SUM"
	if [ -z "$prefix" ]; then
		[ -n "${HOME:-}" ] || die "HOME is not set, so there is no default place to install to" "PREFIX=/some/folder ./install.sh"
		prefix=$HOME/.local
	fi
	case $prefix in
	/*) ;;
	*) prefix=$(pwd)/$prefix ;;
	esac
	# As PATH would have it: no "/." and no slash at the end.
	if [ -d "$prefix" ]; then prefix=$(CDPATH='' cd -- "$prefix" && pwd) || die "cannot enter $prefix"; fi
	while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
	here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
	# An archive is of one program, and says which.
	case ${archive##*/} in
	envrund_*) program=envrund ;;
	'') if [ ! -f "$here/go.mod" ] && [ -f "$here/man/envrund.1" ]; then program=envrund; fi ;;
	esac
	manifest=$prefix/share/$program/installed-files

	if [ $action = uninstall ]; then
		uninstall
		return 0
	fi

	platform
	work=$(mktemp -d "${TMPDIR:-/tmp}/envrun-install.XXXXXX")
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	if [ -n "$archive" ]; then
		unpack
	elif [ -f "$here/SHA256SUMS" ] && [ -f "$here/$program$exe" ]; then
		stage=$here
		verify
	elif [ -f "$here/go.mod" ] && grep -q '^module envrun$' "$here/go.mod"; then
		build
	else
		die "this is neither a checkout nor an unpacked release of $program" "./install.sh --from ARCHIVE.tar.gz"
	fi
	put_all
	report
}

usage() {
	cat <<'END'
Installs envrun: the program, completions and man pages, without root.
With --server it installs envrund, the team server, likewise.

  ./install.sh                       in a checkout: builds with the Go that is there
  ./install.sh                       in an unpacked archive: verifies and installs its files
  ./install.sh --from ARCHIVE        verifies against SHA256SUMS beside it and installs
      --sha256 SUM                   verifies against this sum instead
  ./install.sh --uninstall           removes what an install put there, and nothing else
      --prefix FOLDER                where to (default: $PREFIX, else ~/.local)
      --server                       envrund in place of envrun
END
}

say() { printf '%s\n' "$*" >&2; }

die() {
	say "install.sh: $1"
	[ $# -lt 2 ] || say "hint: $2"
	exit 1
}

# cleanup takes back what an install that did not get through has left.
cleanup() {
	if [ -f "$work/files" ]; then
		while IFS= read -r f; do rm -f "$prefix/$f.new.$$"; done <"$work/files"
		rm -f "$manifest.new.$$"
		remove_folders <"$work/folders"
	fi
	rm -rf "$work"
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
	[ -n "$go" ] || die "no Go here to build with; envrun needs Go to be built" "install Go from https://go.dev/dl, or use a release archive: ./install.sh --from ARCHIVE"
	need=$(sed -n 's/^go 1\.\([0-9]*\).*/\1/p' "$here/go.mod")
	# An older Go fetches the toolchain that go.mod asks for, unless it was told not to.
	have=$(cd "$here" && "$go" env GOVERSION 2>/dev/null) || have="an older Go that could not fetch it"
	minor=${have#go1.}
	minor=${minor%%[!0-9]*}
	case $have in
	go1.*) [ "${minor:-0}" -ge "$need" ] || minor= ;;
	*devel*) minor=$need ;;
	esac
	[ -n "$minor" ] || die "envrun needs Go 1.$need or newer, and $go is ${have:-of no known version}" "install Go from https://go.dev/dl, or use a release archive: ./install.sh --from ARCHIVE"
	version=dev
	if [ -e "$here/.git" ]; then version=$(cd "$here" && git describe --tags --always --dirty 2>/dev/null) || version=dev; fi
	say "building $program $version with $have …"
	stage=$work/stage
	mkdir -p "$stage"
	(cd "$here" && CGO_ENABLED=0 "$go" build $(.ci/buildflags "$program") -buildvcs=false -ldflags "$(.ci/ldflags "$os" "$version" "$program")" -o "$stage/$program$exe" "./cmd/$program") || die "the build failed, see above; nothing was installed"
	cp -R "$here/completions" "$stage/completions"
	cp -R "$here/docs/man" "$stage/man"
}

unpack() {
	[ -f "$archive" ] || die "no such file: $archive"
	case $archive in
	*_"${os}_${arch}".tar.gz) ;;
	*_*_*.tar.gz) die "$(basename "$archive") is not for this machine, which is ${os}_${arch}" ;;
	*) die "$(basename "$archive") is no release archive: ${program}_VERSION_OS_ARCH.tar.gz" ;;
	esac
	if [ -z "$sum" ]; then
		sums=$(dirname "$archive")/SHA256SUMS
		[ -f "$sums" ] || die "there is no SHA256SUMS beside $archive to verify it against" "download SHA256SUMS from the same release, or pass --sha256 SUM"
		name=$(basename "$archive")
		sum=$(while read -r s n || [ -n "$s" ]; do [ "$n" != "$name" ] && [ "$n" != "*$name" ] || printf '%s' "$s"; done <"$sums")
		[ -n "$sum" ] || die "$sums does not name $name"
	fi
	got=$(sha256 "$archive")
	[ "$got" = "$(printf '%s' "$sum" | tr 'A-F' 'a-f')" ] || die "the SHA-256 of $archive is $got, not $sum: the download is damaged or was changed" "download it again"
	mkdir "$work/archive"
	tar -xzf "$archive" -C "$work/archive" || die "cannot unpack $archive"
	stage=$work/archive/$(ls "$work/archive")
	[ -f "$stage/$program$exe" ] || die "there is no $program in $archive"
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

# verify checks the files of an unpacked archive against the SHA256SUMS in it.
verify() {
	if command -v sha256sum >/dev/null 2>&1; then
		check='sha256sum -c SHA256SUMS'
	elif command -v shasum >/dev/null 2>&1; then
		check='shasum -a 256 -c SHA256SUMS'
	else
		die "neither sha256sum nor shasum is here to verify the files with"
	fi
	(cd "$stage" && $check >/dev/null) || die "a file of this archive does not match its SHA-256: the download is damaged or was changed" "download the archive again"
	# What the list does not name was not checked.
	unnamed=$(cd "$stage" && find "$program$exe" completions man -type f | while IFS= read -r f; do
		grep -qxE "[0-9a-f]{64} [ *]$(printf '%s' "$f" | sed 's/[].[*^$\\+?(){}|]/\\&/g')" SHA256SUMS || printf ' %s' "$f"
	done)
	[ -z "$unnamed" ] || die "SHA256SUMS does not name$unnamed: the archive was changed" "download the archive again"
}

# place copies one file beside its place, MODE FROM TO. The renames come when
# all copies are there: a full disk or a missing right then changes nothing.
place() {
	folder "$(dirname "$3")"
	[ ! -d "$prefix/$3" ] || die "$prefix/$3 is a folder; nothing was installed" "move it away, or ./install.sh --prefix FOLDER"
	[ "$3" = "share/$program/installed-files" ] || printf '%s\n' "$3" >>"$work/files"
	{ cp "$2" "$prefix/$3.new.$$" && chmod "$1" "$prefix/$3.new.$$"; } || die "cannot write to $(dirname "$prefix/$3"); nothing was installed" "./install.sh --prefix FOLDER"
}

# folder makes a folder below the prefix and notes each that was not there.
folder() {
	[ ! -d "$prefix/$1" ] || return 0
	case $1 in
	*/*) folder "${1%/*}" ;;
	esac
	mkdir -p "$prefix/$1" || die "cannot make the folder $prefix/$1; nothing was installed" "./install.sh --prefix FOLDER"
	printf '%s/\n' "$1" >>"$work/folders"
}

# remove_folders removes those of the folders on stdin that are empty.
remove_folders() {
	LC_ALL=C sort -r | while IFS= read -r d; do
		! inside "$d" || rmdir "$prefix/$d" 2>/dev/null || true
	done
}

# inside says whether a line of the list stays below the prefix: the list is a
# file, and whoever can write it must not choose what is deleted elsewhere.
inside() {
	case /$1/ in
	//* | */../*) say "left alone, not below $prefix: $1"; return 1 ;;
	esac
}

put_all() {
	for f in "$program$exe" "completions/$program.bash" "completions/$program.zsh" "completions/$program.fish" "completions/$program.ps1" "man/$program.1"; do
		[ -f "$stage/$f" ] || die "$f is missing from $stage; nothing was installed"
	done
	: >"$work/folders"
	: >"$work/files"
	place 755 "$stage/$program$exe" "bin/$program$exe"
	place 644 "$stage/completions/$program.bash" "share/bash-completion/completions/$program"
	place 644 "$stage/completions/$program.zsh" "share/zsh/site-functions/_$program"
	place 644 "$stage/completions/$program.fish" "share/fish/vendor_completions.d/$program.fish"
	place 644 "$stage/completions/$program.ps1" "share/$program/$program.ps1"
	for page in "$stage/man/$program.1" "$stage/man/$program"-*.1; do
		place 644 "$page" "share/man/man1/$(basename "$page")"
	done
	# The list has files and, with a slash at the end, folders that were not there before.
	cat "$work/files" "$work/folders" >"$work/list"
	if [ -f "$manifest" ]; then grep '/$' "$manifest" >>"$work/list" || true; fi
	place 644 "$work/list" "share/$program/installed-files"

	# What a former version installed and this one does not have goes.
	if [ -f "$manifest" ]; then
		while IFS= read -r old; do
			case $old in
			*/) ;;
			*) grep -qxF -e "$old" "$work/list" || ! inside "$old" || rm -f "$prefix/$old" ;;
			esac
		done <"$manifest"
	fi
	mv -f "$manifest.new.$$" "$manifest"
	while IFS= read -r f; do
		mv -f "$prefix/$f.new.$$" "$prefix/$f" || die "cannot replace $prefix/$f" "end every $program that runs, then ./install.sh again"
	done <"$work/files"
}

uninstall() {
	[ -f "$manifest" ] || die "there is no installation below $prefix of $program" "./install.sh --uninstall --prefix FOLDER"
	while IFS= read -r file; do
		case $file in
		*/) ;;
		*) ! inside "$file" || rm -f "$prefix/$file" || die "cannot remove $prefix/$file" ;;
		esac
	done <"$manifest"
	list=$(cat "$manifest")
	rm -f "$manifest" || die "cannot remove $manifest"
	printf '%s\n' "$list" | grep '/$' | remove_folders
	# Folders that the other program is still in go with that.
	other=envrund
	[ "$program" = envrun ] || other=envrun
	other=$prefix/share/$other/installed-files
	if [ -f "$other" ]; then
		printf '%s\n' "$list" | grep '/$' | while IFS= read -r d; do
			[ ! -d "$prefix/$d" ] || printf '%s\n' "$d" >>"$other"
		done
	fi
	case $program in
	envrun) say "removed envrun from $prefix; your identity and settings stay where they are (envrun's own folder in ~/.config)" ;;
	*) say "removed $program from $prefix; its data and its configuration stay where they are" ;;
	esac
}

# quoted is a word as a shell reads it back.
quoted() {
	case $1 in
	*[!A-Za-z0-9/._-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
	*) printf '%s' "$1" ;;
	esac
}

report() {
	is=$("$prefix/bin/$program$exe" version) || die "$prefix/bin/$program$exe is installed and does not run"
	say "installed $is as $prefix/bin/$program$exe"
	case :$PATH: in
	*:"$prefix/bin":*)
		first=$(command -v "$program" || true)
		[ -z "$first" ] || [ "$first" = "$prefix/bin/$program$exe" ] || say "note: another $program comes first in PATH: $first"
		;;
	*)
		say "$prefix/bin is not in PATH; add this line to your shell's profile:"
		case ${SHELL:-} in
		*/fish) say "    fish_add_path $(quoted "$prefix/bin")" ;;
		*) say "    export PATH=$(quoted "$prefix/bin"):\"\$PATH\"" ;;
		esac
		;;
	esac
	case ${SHELL:-} in
	*/zsh) say "completions for zsh need this line before compinit in ~/.zshrc:"
		say "    fpath=($(quoted "$prefix/share/zsh/site-functions") \$fpath)" ;;
	esac
	if [ "$os" = windows ] || command -v pwsh >/dev/null 2>&1; then
		say "completions for PowerShell: add this line to \$PROFILE:"
		say "    . $(quoted "$prefix/share/$program/$program.ps1")"
	fi
}

# In braces, so that a file that ends within this line runs nothing either.
{ main "$@"; }
