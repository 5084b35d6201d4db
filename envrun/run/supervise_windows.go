package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"

	"envrun/envrun/redact"
)

// Begin must be the first call in main. On Windows it does nothing.
func Begin() {}

// replace is never called: a Plan for Windows always supervises.
func replace(p *Plan, _ Command) error {
	return &Error{Code: CodeFailed, Reason: ReasonExec, Program: p.program, Detail: "Windows cannot replace a process"}
}

// Exit ends this process with the program's exit code, all 32 bits of it.
func (s Status) Exit() { os.Exit(s.Code) }

// closeTime is how long the program gets when its console is closed; Windows
// ends us after 5 seconds.
const closeTime = 4500 * time.Millisecond

// supervise runs the program in a job that ends with us, and stays until it has
// ended.
//
// The console tells the program of Ctrl-C and Ctrl-Break itself, so that we
// only have to stay alive (runner W2). Windows has no TERM: a time limit or a
// cancelled context ends the whole job at once.
func supervise(ctx context.Context, p *Plan, c Command) (status Status, err error) {
	console := make(chan os.Signal, 8)
	signal.Notify(console, os.Interrupt, syscall.SIGTERM) // SIGTERM: close, logoff, shutdown
	defer signal.Stop(console)

	files, err := deliverFiles(p, c)
	defer func() {
		if err := files.remove(); err != nil {
			status.Warnings = append(status.Warnings, err)
		}
		status.Warnings = append(status.Warnings, runHooks(c.OnExit, console)...)
	}()
	if err == nil {
		status, err = runJob(ctx, p, c, console)
	}
	if err != nil {
		status.Code = exitCode(err)
	}
	return status, err
}

func runJob(ctx context.Context, p *Plan, c Command, console <-chan os.Signal) (Status, error) {
	var status Status
	setup := func(what string, err error) (Status, error) {
		return status, &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Detail: what, Err: err}
	}
	if p.Terminal {
		return setup("a console cannot be masked on Windows yet", errors.ErrUnsupported)
	}
	streams, err := openStreams(p, c)
	if err != nil {
		return setup("setting up the streams", err)
	}
	defer streams.close()
	job, err := newJob()
	if err != nil {
		return setup("making a job", err)
	}
	defer windows.CloseHandle(job)
	process, err := startInJob(p, c, streams.child, job)
	if err != nil {
		return status, err
	}
	defer windows.CloseHandle(process)
	streams.started()

	ended := make(chan error, 1)
	go func() {
		_, err := windows.WaitForSingleObject(process, windows.INFINITE)
		ended <- err
	}()
	var timeout, closing <-chan time.Time
	if c.Timeout > 0 {
		timeout = time.After(c.Timeout)
	}
	cancelled := ctx.Done()
	for {
		select {
		case sig := <-console:
			if sig == syscall.SIGTERM && closing == nil {
				closing = time.After(closeTime)
			}
		case <-closing:
			_ = windows.TerminateJobObject(job, CodeFailed)
		case <-cancelled:
			cancelled = nil
			_ = windows.TerminateJobObject(job, CodeFailed)
		case <-timeout:
			status.TimedOut = true
			_ = windows.TerminateJobObject(job, codeTimedOut)
		case err := <-ended:
			if err != nil {
				return setup("waiting for the program", err)
			}
			var code uint32
			if err := windows.GetExitCodeProcess(process, &code); err != nil {
				return setup("asking how the program ended", err)
			}
			status.Code = int(code)
			if status.TimedOut {
				status.Code = codeTimedOut
			}
			status.Warnings = append(status.Warnings, streams.finish(console)...)
			// What the program has left running stays, as without us.
			if err := limitJob(job, 0); err != nil {
				status.Warnings = append(status.Warnings, fmt.Errorf("letting go of what still runs: %w", err))
			}
			return status, nil
		}
	}
}

// newJob makes a job whose processes end when its last handle is closed, that
// is when we end in whatever way (runner W1).
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	if err := limitJob(job, windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE); err != nil {
		windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

func limitJob(job windows.Handle, flags uint32) error {
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = flags
	_, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	return err
}

// startInJob starts the program suspended, puts it into the job before its
// first instruction, and lets it run.
func startInJob(p *Plan, c Command, std [3]*os.File, job windows.Handle) (windows.Handle, error) {
	fail := func(what string, err error) (windows.Handle, error) {
		return 0, &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Detail: what, Err: err}
	}
	file, commandLine, err := p.commandLine(c)
	if err != nil {
		return 0, err
	}
	path, err := windows.UTF16PtrFromString(file)
	if err != nil {
		return fail("", err)
	}
	line, err := windows.UTF16PtrFromString(commandLine)
	if err != nil {
		return fail("", err)
	}
	dir := c.Dir
	var dirp *uint16
	if dir != "" {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = &os.PathError{Op: "chdir", Path: dir, Err: errors.New("not a folder")}
		}
		if err != nil {
			return 0, &Error{Code: CodeFailed, Reason: ReasonDir, Program: p.program, Found: dir, Err: err}
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return fail("", err)
		}
		if dirp, err = windows.UTF16PtrFromString(dir); err != nil {
			return fail("", err)
		}
	}
	handles, err := inheritable(std)
	defer func() {
		for _, h := range handles {
			windows.CloseHandle(h)
		}
	}()
	if err != nil {
		return fail("handing on the streams", err)
	}
	attrs, err := windows.NewProcThreadAttributeList(1)
	if err != nil {
		return fail("handing on the streams", err)
	}
	defer attrs.Delete()
	// Only these three are inherited, whatever else is open.
	if err := attrs.Update(windows.PROC_THREAD_ATTRIBUTE_HANDLE_LIST, unsafe.Pointer(&handles[0]), uintptr(len(handles))*unsafe.Sizeof(handles[0])); err != nil {
		return fail("handing on the streams", err)
	}
	si := windows.StartupInfoEx{ProcThreadAttributeList: attrs.List()}
	si.Cb = uint32(unsafe.Sizeof(si))
	si.Flags = windows.STARTF_USESTDHANDLES
	si.StdInput, si.StdOutput, si.StdErr = handles[0], handles[1], handles[2]
	block := envBlock(p.env)
	const flags = windows.CREATE_SUSPENDED | windows.CREATE_UNICODE_ENVIRONMENT | windows.EXTENDED_STARTUPINFO_PRESENT
	var pi windows.ProcessInformation
	if err := windows.CreateProcess(path, line, nil, nil, true, flags, &block[0], dirp, &si.StartupInfo, &pi); err != nil {
		return 0, startError(p, err)
	}
	defer windows.CloseHandle(pi.Thread)
	err = windows.AssignProcessToJobObject(job, pi.Process)
	if err == nil {
		_, err = windows.ResumeThread(pi.Thread)
	}
	if err != nil {
		_ = windows.TerminateProcess(pi.Process, CodeFailed)
		windows.CloseHandle(pi.Process)
		return fail("starting it in a job", err)
	}
	return pi.Process, nil
}

// startError says what an error of CreateProcess means.
func startError(p *Plan, err error) *Error {
	e := &Error{Code: CodeCannotRun, Reason: ReasonNotExecutable, Program: p.program, Found: p.Path, Err: err}
	switch {
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		e.Code, e.Reason = CodeNotFound, ReasonNotFound
	case errors.Is(err, windows.ERROR_BAD_EXE_FORMAT), errors.Is(err, windows.ERROR_EXE_MACHINE_TYPE_MISMATCH):
		e.Reason = ReasonFormat
		e.Detail = "not a program for this system"
	}
	return e
}

// inheritable duplicates the handles of the streams so that a child can have them.
func inheritable(std [3]*os.File) ([]windows.Handle, error) {
	self := windows.CurrentProcess()
	var handles []windows.Handle
	for _, f := range std {
		var h windows.Handle
		if err := windows.DuplicateHandle(self, windows.Handle(f.Fd()), self, &h, 0, true, windows.DUPLICATE_SAME_ACCESS); err != nil {
			return handles, err
		}
		handles = append(handles, h)
	}
	return handles, nil
}

// envBlock is an environment as CreateProcess wants it.
func envBlock(env []string) []uint16 {
	var block []uint16
	for _, entry := range env {
		block = append(block, utf16.Encode([]rune(entry))...)
		block = append(block, 0)
	}
	if len(block) == 0 {
		block = append(block, 0)
	}
	return append(block, 0)
}

// streams are the three streams of the program; those that are masked go through a
// pipe.
type streams struct {
	child [3]*os.File
	ours  []*os.File
	pumps []*pump
}

// A pump carries what the program says through the masker.
type pump struct {
	from *os.File
	to   *redact.Writer
	name string
	done chan error
}

func openStreams(p *Plan, c Command) (*streams, error) {
	s := &streams{child: p.std}
	if len(p.Masked) == 0 {
		return s, nil
	}
	masker := c.Masker()
	if masker == nil {
		return s, nil
	}
	for i := 1; i <= 2; i++ {
		if !p.mask[i] {
			continue
		}
		if i == 2 && p.mask[1] && sameFile(p.std[1], p.std[2]) {
			s.child[2] = s.child[1] // one pipe for both keeps their order
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			return nil, err
		}
		s.child[i] = w
		s.ours = append(s.ours, w)
		s.pumps = append(s.pumps, &pump{from: r, to: masker.NewWriter(p.std[i], redact.WriterOptions{}), name: streamNames[i], done: make(chan error, 1)})
	}
	return s, nil
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// started lets go of the program's ends and starts the pumps.
func (s *streams) started() {
	s.closeOurs()
	for _, p := range s.pumps {
		go func() {
			_, err := io.Copy(p.to, p.from)
			if err == nil {
				err = p.to.Close()
			}
			p.from.Close()
			p.done <- err
		}()
	}
}

// finish returns when what the program said is out, when a process that it left
// behind has held the stream open for a second, or when hurry is ready.
func (s *streams) finish(hurry <-chan os.Signal) (warnings []error) {
	limit := time.After(time.Second)
	for _, p := range s.pumps {
		select {
		case err := <-p.done:
			if err != nil {
				warnings = append(warnings, fmt.Errorf("writing %s: %w", p.name, err))
			}
		case <-limit:
			_ = p.to.Close()
			return append(warnings, fmt.Errorf("writing %s: a process that the program left behind still holds it open: what that says from now on is lost", p.name))
		case <-hurry:
			return append(warnings, errors.New("interrupted before everything the program said was written"))
		}
	}
	return warnings
}

func (s *streams) closeOurs() {
	for _, f := range s.ours {
		f.Close()
	}
	s.ours = nil
}

func (s *streams) close() { s.closeOurs() }
