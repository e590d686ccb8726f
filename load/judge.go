package load

import "fmt"

// judge says what is wrong with an answer.
func (r *Run) judge(status int, body []byte) *stepError {
	o := &r.o
	if o.Raw == nil && o.Status != 0 && status != o.Status {
		return &stepError{"check", ClassStatus, fmt.Errorf("status %d, not %d", status, o.Status)}
	}
	good := o.Raw != nil || o.Status != 0 || status >= 200 && status <= 299
	if o.Check == nil {
		if !good {
			return &stepError{"check", ClassStatus, fmt.Errorf("status %d", status)}
		}
		return nil
	}
	err := o.Check(status, body)
	if err == nil {
		return nil
	}
	if good {
		return &stepError{"check", ClassBody, err}
	}
	return &stepError{"check", ClassStatus, err}
}
