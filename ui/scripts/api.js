// Writes src/api/schema.d.ts from the handler's description of its HTTP API, as its snapshot test keeps it.
// With `--check` nothing is written; it fails when the file is not what the description gives.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import openapi, { astToString } from "openapi-typescript";

const snapshots = "../handler/src/http/snapshots";
const target = "src/api/schema.d.ts";

const name = readdirSync(snapshots).find((file) => file.includes("openapi") && file.endsWith(".snap"));
if (name === undefined) throw new Error(`no snapshot of the API's description in ${snapshots}: run the handler's tests`);
// insta's own head ends at the second line of three dashes.
const description = JSON.parse(readFileSync(`${snapshots}/${name}`, "utf8").split(/^---$/m).slice(2).join("---"));
const types = `// Written by \`npm run api\` from the handler's description of its API; do not edit.\n\n${astToString(await openapi(description))}`;

if (!process.argv.includes("--check")) {
  writeFileSync(target, types);
} else if (readFileSync(target, "utf8") !== types) {
  console.error(`${target} is not what the handler describes: run \`npm run api\` in ui/`);
  process.exit(1);
}
