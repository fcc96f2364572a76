# The only door: people and CI run the same recipes. `just` alone lists them.

oxlint := "oxlint@1.94.0"

_default:
    @just --list --unsorted

# Everything a development machine needs.
setup:
    @bun install --frozen-lockfile --silent

# Run in development mode: no account, no network.
dev *args: setup
    @exec bun src/main.ts --dev-mode {{args}}

# Run from source with your own settings.
run *args: setup
    @exec bun src/main.ts {{args}}

# Every test, on the compiled binary too; with a path, those alone.
test *paths: setup
    {{ if paths == "" { "bun run test" } else { "bun test " + paths } }}

# Write down how long each test file takes, so that the slowest start first: test/timings.json.
timings: setup
    bun test --parallel=6 --path-ignore-patterns 'test/timing/**' --timings=test/timings.json --update-timings

# The tests that take minutes: 310 s of silence, and everything at full size.
test-long: setup
    POSTERN_LONG=1 bun test

# Every attack by its number, in full: 12 minutes at most; `--quick` in three, `--only 25,38` for some.
# With slowhttptest and faketime (apt-get install slowhttptest faketime), or else without those cases.
attack *args: setup
    @exec bun test/attack-run/main.ts {{args}}

# Vercel AI SDK, LangChain and Codex at exact versions, from a folder that goes with the run; needs Node 22.
clients: setup
    bun test/clients/main.ts

# Needs wrk and nginx (apt-get install wrk nginx-light haproxy); peers that are missing are named.
# postern beside nginx, HAProxy and Portkey: half an hour; `--only known-1k --rounds 1` for one thing.
bench *args: setup
    @exec bun test/bench/bench.ts {{args}}

# What has to hold before a commit, but for the tests.
check: setup lint
    bun fmt --check --no-script
    bun check --no-script

# Outside the lockfile, which would record its binary for one platform alone.
lint:
    bun x {{oxlint}} --deny-warnings -D correctness -D suspicious -D perf \
        -A no-shadow -A no-await-in-loop -A consistent-function-scoping src test tools

fmt:
    bun fmt --no-script

# Bring the tables of docs/ up to date with the code.
docs: setup
    bun tools/docs.ts

# dist/postern, one executable for this machine, and dist/client.js.
build:
    bun run build

# Every platform, with SHA256SUMS, under dist/release.
release: setup
    bun tools/build.ts --release

# The binary under mixed load for so many minutes, with a fault every 30 s.
soak minutes="10": setup
    bun test/soak/soak.ts {{minutes}}
