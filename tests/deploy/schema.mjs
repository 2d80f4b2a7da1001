// JSON schemas made of the types that Grafana itself is built with: https://www.npmjs.com/package/@grafana/schema

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Ajv } from "ajv";
import { createGenerator } from "ts-json-schema-generator";

const TYPES = "@grafana/schema/dist/types/raw";

/** A check of a value against the exported type of one of the package's modules; unknown keys are faults. */
export function checkOf(module, type) {
  const folder = mkdtempSync(path.join(import.meta.dirname, "node_modules/.schema-"));
  try {
    const source = path.join(folder, "wanted.ts");
    const tsconfig = path.join(folder, "tsconfig.json");
    const from = `"../${TYPES}/${module}/x/types.gen.js"`;
    writeFileSync(source, `import type { ${type} } from ${from};\nexport type Wanted = ${type};\n`);
    const compilerOptions = { module: "esnext", moduleResolution: "bundler", strict: true, types: [] };
    writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: [source] }));
    const options = { path: source, tsconfig, type: "*", skipTypeCheck: true, additionalProperties: false };
    const schema = createGenerator(options).createSchema("Wanted");
    const validate = new Ajv({ allErrors: true, strict: false }).compile(schema);
    return (value) => (validate(value) ? [] : validate.errors.map(told));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function told({ instancePath, message, params }) {
  return `${instancePath || "/"} ${message} ${JSON.stringify(params)}`;
}
