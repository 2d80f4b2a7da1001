// The files for compose and Kubernetes: what their schemas cannot say. That they fit their schemas is checked by
// scripts/test, with check-jsonschema and kubernetes-validate.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { DEPLOY } from "./dashboard.mjs";

const BINARY = process.env.FANFARE_BIN ?? path.resolve(DEPLOY, "../target/debug/fanfare");
const read = (file) => readFileSync(path.join(DEPLOY, file), "utf8");
const { services, ...compose } = parse(read("compose/compose.yaml"));
const files = readdirSync(path.join(DEPLOY, "kubernetes")).filter((name) => name.endsWith(".yaml")).sort();
const objects = files.map((name) => parse(read(`kubernetes/${name}`)));
const ofKind = (kind) => objects.find((object) => object.kind === kind);
const pod = ofKind("Deployment").spec.template;
const [container] = pod.spec.containers;

/** What the broker makes of a configuration, with these variables in its environment. */
async function effective(text, environment) {
  const folder = await mkdtemp(path.join(tmpdir(), "fanfare-"));
  try {
    const file = path.join(folder, "fanfare.toml");
    await writeFile(file, text);
    const options = { cwd: folder, env: { PATH: process.env.PATH, ...environment, FANFARE_CONFIG: file } };
    await promisify(execFile)(BINARY, ["config", "check"], options);
    return (await promisify(execFile)(BINARY, ["config", "show"], options)).stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const seconds = (duration) => Number(duration.match(/^(\d+)s$/)[1]);
const drainOf = (shown) => seconds(shown.match(/^drain = "(.+)"/m)[1]);

test("compose: every port is published on loopback only", () => {
  const published = Object.values(services).flatMap(({ ports }) => ports);
  assert.equal(published.length, 3);
  for (const port of published) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
});

test("compose: images that are fetched are pinned, and what is mounted is there", () => {
  for (const [name, { image, build, volumes }] of Object.entries(services)) {
    if (!build) assert.match(image, /:v?\d+\.\d+\.\d+$/, name);
    for (const [source] of volumes.map((volume) => volume.split(":"))) {
      const found = source.startsWith(".") ? existsSync(path.join(DEPLOY, "compose", source)) : source in compose.volumes;
      assert.ok(found, `${name}: ${source}`);
    }
  }
});

test("compose: nothing starts with a password that everybody knows", () => {
  assert.match(services.grafana.environment.GF_SECURITY_ADMIN_PASSWORD, /^\$\{GRAFANA_ADMIN_PASSWORD:\?.+\}$/);
  assert.match(services.broker.environment.FANFARE_METRICS_KEY, /^\$\{FANFARE_METRICS_KEY:\?.+\}$/);
  assert.equal(services.grafana.environment.GF_AUTH_ANONYMOUS_ENABLED, "false");
});

test("compose: the broker takes its configuration, and is given longer than its drain", async () => {
  const shown = await effective(read("compose/fanfare.toml"), { FANFARE_METRICS_KEY: "some-key" });
  assert.ok(seconds(services.broker.stop_grace_period) > drainOf(shown));
});

test("Kubernetes: what is referred to comes first, and is there", () => {
  const order = objects.map(({ kind }) => kind);
  assert.deepEqual(order, ["Namespace", "ConfigMap", "NetworkPolicy", "Service", "PodDisruptionBudget", "Deployment"]);
  for (const { kind, metadata } of objects.slice(1)) assert.equal(metadata.namespace, objects[0].metadata.name, kind);
  const [volume] = pod.spec.volumes;
  assert.equal(volume.configMap.name, ofKind("ConfigMap").metadata.name);
  assert.deepEqual(container.volumeMounts.map(({ name }) => name), [volume.name]);
});

test("Kubernetes: service, budget, policy and deployment mean the same pods", () => {
  const { labels } = pod.metadata;
  assert.deepEqual(ofKind("Service").spec.selector, labels);
  assert.deepEqual(ofKind("PodDisruptionBudget").spec.selector.matchLabels, labels);
  assert.deepEqual(ofKind("NetworkPolicy").spec.podSelector.matchLabels, labels);
  assert.deepEqual(ofKind("Deployment").spec.selector.matchLabels, labels);
});

test("Kubernetes: every way to the broker goes to the port it listens on", async () => {
  const [port] = container.ports;
  const { "fanfare.toml": config } = ofKind("ConfigMap").data;
  assert.match(config, new RegExp(`^listen = ".+:${port.containerPort}"$`, "m"));
  assert.deepEqual(ofKind("Service").spec.ports.map(({ targetPort }) => targetPort), [port.name]);
  for (const { ports } of ofKind("NetworkPolicy").spec.ingress) assert.deepEqual(ports.map(({ port }) => port), [port.name]);
  const probes = ["startupProbe", "livenessProbe", "readinessProbe"].map((probe) => container[probe].httpGet);
  assert.deepEqual(probes.map(({ path }) => path), ["/healthz", "/healthz", "/readyz"]);
  for (const probe of probes) assert.equal(probe.port, port.name);
});

test("Kubernetes: the broker takes its configuration, with the keys of the secret, and drains in time", async () => {
  const { "fanfare.toml": config } = ofKind("ConfigMap").data;
  const secret = container.env.filter(({ valueFrom }) => valueFrom);
  for (const { valueFrom } of secret) assert.equal(valueFrom.secretKeyRef.name, "fanfare-keys");
  const shown = await effective(config, Object.fromEntries(secret.map(({ name }) => [name, `${name}-value`])));
  assert.ok(pod.spec.terminationGracePeriodSeconds >= drainOf(shown) + 10);
  const mounted = path.join(container.volumeMounts[0].mountPath, "fanfare.toml");
  assert.equal(container.env.find(({ name }) => name === "FANFARE_CONFIG").value, mounted);
  // How the secret is made stands where one begins to read.
  for (const { valueFrom } of secret) assert.match(read(`kubernetes/${files[0]}`), new RegExp(`${valueFrom.secretKeyRef.key}=`));
});

test("Kubernetes: the pod may do nothing but serve", () => {
  assert.equal(pod.spec.securityContext.runAsNonRoot, true);
  assert.equal(pod.spec.securityContext.seccompProfile.type, "RuntimeDefault");
  assert.equal(pod.spec.automountServiceAccountToken, false);
  assert.equal(container.securityContext.readOnlyRootFilesystem, true);
  assert.equal(container.securityContext.allowPrivilegeEscalation, false);
  assert.deepEqual(container.securityContext.capabilities.drop, ["ALL"]);
  // The user of the image.
  assert.match(read("../Dockerfile"), new RegExp(`^USER ${pod.spec.securityContext.runAsUser}:`, "m"));
});

test("Kubernetes: the image has the version of this source", () => {
  const [, version] = read("../Cargo.toml").match(/^version = "(.+)"$/m);
  assert.equal(container.image, `fanfare:${version}`);
});

test("systemd: it is given longer than its drain, and its configuration is checked before it starts", async () => {
  const unit = read("systemd/fanfare.service");
  const stop = seconds(unit.match(/^TimeoutStopSec=(.+)$/m)[1]);
  assert.ok(stop > drainOf(await effective("", {})));
  assert.match(unit, /^ExecStartPre=\S+ config check$/m);
  assert.match(unit, /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m);
});
