// How long a request's line and headers together may be. The runtime's own 16 KiB would answer a token of
// that size with a bare 431. The program is built with the larger limit (tools/build.ts); run from source
// it has no other way than a setting of node:http, which takes 8 ms and 2 MB to load.

/** A token of the greatest size that admission reads, a target likewise, and room for the rest. */
export const MAX_HEADER_BYTES = 32_768

/** As an argument of the runtime. */
export const HEADER_LIMIT_ARGUMENT = `--max-http-header-size=${MAX_HEADER_BYTES}`

/** For every listener of this process. */
export async function allowLargeHeaders(): Promise<void> {
  if (process.execArgv.includes(HEADER_LIMIT_ARGUMENT)) return
  const http = (await import('node:http')).default as { maxHeaderSize: number }
  http.maxHeaderSize = MAX_HEADER_BYTES
}
