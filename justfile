# The short names of what one does all day. `just` alone lists them.

_list:
    @just --list --unsorted

# A broker on 127.0.0.1:8080 that needs nothing else.
run *ARGS:
    cargo run -- {{ ARGS }}

# Everything that must be green before a change lands; `just test rust`, `node` or `lint` for a part.
test PART="all":
    ./scripts/test {{ PART }}

# The tests that drive the broker from Node.js and from a browser.
page-tests:
    ./scripts/test node

# The WebSocket transport against the Autobahn TestSuite; `just autobahn --all` for all of it.
autobahn *ARGS:
    scripts/autobahn {{ ARGS }}

# Deliveries per second and their latency, one publisher to many subscribers.
bench *ARGS:
    cargo bench --bench fanout -- {{ ARGS }}

# The instructions of the hot paths beside those in the repository; `just instructions accept` writes them anew.
instructions *ARGS:
    scripts/instructions {{ ARGS }}

# Fanfare beside its peers, into the README's table. Ten minutes, on a quiet machine.
compare *ARGS:
    ./benches/compare/run {{ ARGS }}

fmt:
    cargo fmt --all

lint:
    cargo clippy --all-targets --locked -- -D warnings

# Licences, banned crates and sources. (Advisories too: `just test lint`.)
deny:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# The library's documentation, in the browser.
docs:
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked --open
