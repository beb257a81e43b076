# What takes longer than a change may wait for. Everything else is in .ci/run.

FUZZTIME ?= 30s

.PHONY: bench fuzz

# Side by side in one run: TLS material, handshakes and warm requests against what Go has by itself.
bench:
	go test -run '^$$' -bench . ./tlsmat ./outbound

# Every fuzz target for FUZZTIME. Minimising an input would take longer than finding it.
fuzz:
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$dir/*_test.go | cut -c6-); do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$dir || exit 1; \
		done; \
	done
