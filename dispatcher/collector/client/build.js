// Builds dist/ from src/. `node build.js DIRECTORY` writes elsewhere, for the comparison in CI.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] || join(here, "dist");
mkdirSync(out, { recursive: true });
const version = /__version__ = "(.+)"/.exec(readFileSync(join(here, "../../version.py"), "utf8"))[1];
const FILES = {
  "tracker.js": ["classic.ts", "iife"],
  "tracker.mjs": ["module.ts", "esm"],
  "logger.js": ["logger.ts", "iife"],
  "handover.js": ["handover.ts", "iife"],
  "mfe.mjs": ["mfe.ts", "esm"],
};
for (const [name, [source, format]] of Object.entries(FILES)) {
  buildSync({
    entryPoints: [join(here, "src", source)],
    outfile: join(out, name),
    bundle: true,
    minify: true,
    format,
    target: "es2020",
    define: { VERSION: JSON.stringify(version) },
    charset: "utf8",
    legalComments: "none",
  });
}
writeFileSync(join(out, "stub.js"), readFileSync(join(here, "src", "stub.js"), "utf8").trim());
const manifest = {};
for (const name of [...Object.keys(FILES), "stub.js"]) {
  const bytes = readFileSync(join(out, name));
  const digest = createHash("sha384").update(bytes).digest();
  manifest[name] = { integrity: `sha384-${digest.toString("base64")}`, hash: digest.toString("hex").slice(0, 16), bytes: bytes.length };
}
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
