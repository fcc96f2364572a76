// The maximum length of a request's line and headers together. With the runtime's default of 16 KiB, a
// token of that size gets a bare 431. The binary is built with the larger limit (tools/build.ts); from
// source, the only way is a setting of node:http, which takes 8 ms and 2 MB to load.

/** The longest token and the longest target that the gate accepts, and room for the rest. */
export const MAX_HEADER_BYTES = 32_768

/** The runtime's argument. */
export const HEADER_LIMIT_ARGUMENT = `--max-http-header-size=${MAX_HEADER_BYTES}`

/** For every listener of this process. */
export async function allowLargeHeaders(): Promise<void> {
  if (process.execArgv.includes(HEADER_LIMIT_ARGUMENT)) return
  const http = (await import('node:http')).default as { maxHeaderSize: number }
  http.maxHeaderSize = MAX_HEADER_BYTES
}
