import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where a running handler answers, for `npm run dev`; `make demo` serves this address. */
const handler = process.env["CLICKSTREAM_URL"] ?? "http://127.0.0.1:8080";

// `changeOrigin` makes `Host` the handler's; the handler compares `Origin` with it, so that is rewritten too.
const proxied = { target: handler, changeOrigin: true, headers: { origin: handler } };

/** As in `handler/src/http/page.rs`. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export default defineConfig({
  plugins: [react()],
  // sockjs-client is written for Node's global name.
  define: { global: "globalThis" },
  build: {
    // Everything is a file of its own: the handler's Content-Security-Policy allows no `data:` and no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // `npm run build` bounds the first load as a whole.
    chunkSizeWarningLimit: 1_000,
  },
  server: {
    proxy: {
      "/api": proxied,
      "/stomp": { ...proxied, ws: true },
      "/sockjs": { ...proxied, ws: true },
    },
  },
  // What `npm run build` made, under the handler's own policy; the development server needs a laxer one.
  preview: { headers: { "content-security-policy": policy } },
  test: { include: ["src/**/*.test.ts"] },
});
