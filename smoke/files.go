package smoke

import (
	"io"
	"os"
)

// Files are where the reports of a run go; "" writes none, "-" is Out.
type Files struct {
	JSON, JUnit, TAP, HTML string
	StepSummary            string // GitHub's; appended to
	GitHub                 bool   // annotations to Out

	Out io.Writer

	open []openFile
}

type openFile struct {
	w     io.Writer
	close func() error
	write func(io.Writer, *Report) error
	path  string
}

// Open opens all of them, so that one that can't be written is told before the
// run and not after it.
func (f *Files) Open() error {
	for _, one := range []struct {
		path  string
		flags int
		write func(io.Writer, *Report) error
	}{
		{f.JSON, os.O_TRUNC, WriteJSON},
		{f.JUnit, os.O_TRUNC, WriteJUnit},
		{f.TAP, os.O_TRUNC, WriteTAP},
		{f.HTML, os.O_TRUNC, WriteHTML},
		{f.StepSummary, os.O_APPEND, WriteStepSummary},
	} {
		switch one.path {
		case "":
		case "-":
			f.open = append(f.open, openFile{f.Out, func() error { return nil }, one.write, "standard output"})
		default:
			file, err := os.OpenFile(one.path, os.O_WRONLY|os.O_CREATE|one.flags, 0o666)
			if err != nil {
				f.Close()
				return usage("the report can't be written: %v", err)
			}
			f.open = append(f.open, openFile{file, file.Close, one.write, one.path})
		}
	}
	if f.GitHub {
		f.open = append(f.open, openFile{f.Out, func() error { return nil }, WriteGitHub, "standard output"})
	}
	return nil
}

// Write writes the report to all of them. Its error is the first; the others
// are written all the same.
func (f *Files) Write(r *Report) error {
	var first error
	for _, o := range f.open {
		err := o.write(o.w, r)
		if e := o.close(); err == nil {
			err = e
		}
		if err != nil && first == nil {
			first = err
		}
	}
	f.open = nil
	return first
}

// Close closes what was opened and not written.
func (f *Files) Close() {
	for _, o := range f.open {
		o.close()
	}
	f.open = nil
}
