package smoke

// Status is the verdict of one check.
type Status string

// The verdicts.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	Note Status = "note" // to know, not a failure
	Skip Status = "skip" // not measured; Figure says why
)

// Check is one thing that was checked.
type Check struct {
	Name   string   `json:"name"` // for programs: one word
	Title  string   `json:"title"`
	Status Status   `json:"status"`
	Figure string   `json:"figure"`
	Detail []string `json:"detail,omitempty"`
}

// Failures returns the checks that failed.
func (r *Report) Failures() []Check {
	var failed []Check
	for _, c := range r.Checks {
		if c.Status == Fail {
			failed = append(failed, c)
		}
	}
	return failed
}

// Check returns the check of a name.
func (r *Report) Check(name string) (Check, bool) {
	for _, c := range r.Checks {
		if c.Name == name {
			return c, true
		}
	}
	return Check{}, false
}
