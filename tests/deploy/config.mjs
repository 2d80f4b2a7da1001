// The broker that the tests watch: anyone publishes and subscribes below two names, and a key reads the metrics.

export const KEY = "a-key-of-the-tests";

/** Its configuration: what a test adds to sections and to the rule of `kept/#`, and sections of its own. */
export const config = ({ server = "", session = "", kept = "", endpoint = "", more = "" }) => `
[server]
workers = 2
${server}

[session]
${session}

[auth]
anonymous = { subscribe = ["kept/#", "live/#"], publish = ["kept/#", "live/#"] }

[[api.key]]
name = "tests"
env = "TEST_KEY"
scopes = ["publish", "read"]

[[topic]]
filter = "kept/#"
${kept}

[[endpoint]]
path = "/chat"
topic = "kept/chat"
on_join = "someone came"
on_leave = "someone left"
${endpoint}
${more}
`;
