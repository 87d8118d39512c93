# The door.  What each target needs and does not find, tools/install gets with apt.
FUZZ_SECONDS ?= 60
MAKEFLAGS += --no-print-directory

.PHONY: build run test lint format bench fuzz nightly package clean

build:
	@tools/install build
	@cmake --preset default >/dev/null
	@cmake --build --preset default --parallel

run: build
	@tools/demo

test:
	@tools/test

lint:
	@tools/install build test
	@tools/lint

format:
	@tools/install test
	clang-format -i core/*.[ch] core/*/*.[ch] mock/*.[ch] sim/*.[ch] $(wildcard fuzz/*.c bench/*.[ch])

bench: build
	@tools/install bench
	@bench/run

fuzz:
	@tools/install build test
	@tools/fuzz $(FUZZ_SECONDS)

# The flow specs once more, under valgrind: slow, so not in `make test`.
nightly: build
	@tools/install test
	@tools/nightly

# build/weir_VERSION_ARCH.deb, and what is in it.
package: build
	@tools/install package
	@cd build && rm -f weir_*.deb && cpack >/dev/null
	@dpkg-deb --info build/weir_*.deb && dpkg-deb --contents build/weir_*.deb

clean:
	rm -rf build build-asan build-fuzz
