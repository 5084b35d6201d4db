package run

// A Folder is a directory in memory, of this user alone, for a file that must
// not reach a disk but has to be one for a while, such as the text that an
// editor works on. If the process is killed, the next run or Folder removes it.
type Folder struct{ f *folder }

// NewFolder makes a Folder below dir, normally $XDG_RUNTIME_DIR, or
// where files are delivered when that is empty or unsuitable. The caller
// removes it.
func NewFolder(dir string) (*Folder, error) {
	base, err := runtimeDir(Command{RuntimeDir: dir})
	if err != nil {
		return nil, err
	}
	sweep(base)
	f, err := newFolder(base)
	if err != nil {
		return nil, err
	}
	return &Folder{f}, nil
}

// Dir is its path.
func (f *Folder) Dir() string { return f.f.dir }

// Remove removes it with everything in it.
func (f *Folder) Remove() error { return f.f.remove() }
