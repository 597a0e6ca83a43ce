// What a browser must load before the form can be used, and the bound it has to stay under.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const maxBytes = 250 * 1024;

const html = readFileSync("dist/index.html", "utf8");
const files = ["index.html", ...[...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => match[1])];
const sizes = files.map((file) => gzipSync(readFileSync(`dist/${file}`)).length);
const total = sizes.reduce((sum, size) => sum + size, 0);

console.log(`first load: ${(total / 1024).toFixed(1)} KiB with gzip, of ${maxBytes / 1024} allowed`);
if (total > maxBytes) {
  files.forEach((file, index) => console.error(`${sizes[index]} ${file}`));
  process.exit(1);
}
