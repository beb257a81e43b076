package workload

import (
	"regexp"
	"testing"
)

func TestCauses(t *testing.T) {
	ids := map[string]bool{}
	for _, cause := range Causes() {
		if cause.Says == "" || cause.Remedy == "" || !regexp.MustCompile(`^tls\.spiffe_[a-z_]+$`).MatchString(cause.Code) || ids[cause.ID] {
			t.Errorf("incomplete or repeated: %+v", cause)
		}
		ids[cause.ID] = true
		err := fault(cause, nil, "address", "unix:///s", "answer", `"no"`, "uid", "7", "time", "2s")
		if said := err.Error() + err.Hint(); regexp.MustCompile(`[{}]`).MatchString(said) {
			t.Errorf("%s: a placeholder that nothing fills: %s", cause.ID, said)
		}
		if err.Code() != cause.Code {
			t.Errorf("%s: code %s", cause.ID, err.Code())
		}
	}
	if len(ids) == 0 {
		t.Fatal("no causes")
	}
}
