import { defineConfig } from "@playwright/test";

const baseURL = process.env["CLICKSTREAM_URL"];
if (baseURL === undefined || baseURL === "") {
  throw new Error("CLICKSTREAM_URL is not set: start `make demo` and run CLICKSTREAM_URL=http://127.0.0.1:8080 npm run e2e");
}

export default defineConfig({
  testDir: ".",
  // Three systems: one that sends about 200 events a second, for the load one that sends 2,000, and one with a standing query.
  projects: [
    { name: "page", testIgnore: ["load.spec.ts", "standing.spec.ts"] },
    // Without a trace: recording the page before and after each click is work for it, and would be measured.
    { name: "load", testMatch: "load.spec.ts", use: { trace: "off" } },
    { name: "standing", testMatch: "standing.spec.ts" },
  ],
  outputDir: "../test-results",
  reporter: "list",
  // One stream and a small machine: tests in turn, each with time to spare.
  workers: 1,
  timeout: 90_000,
  expect: { timeout: 20_000 },
  use: {
    baseURL,
    viewport: { width: 1360, height: 860 },
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
