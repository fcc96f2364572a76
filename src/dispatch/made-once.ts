// Whether a request makes something that stays at the upstream, so that a second one would leave a first
// that nobody knows of. Asked only where an attempt may have been acted on.

/** Far above what is read for it usually; beyond, the answer is the careful one. */
const MAX_BYTES = 4_194_304

/** `body`: as it goes out; undefined or encoded is not looked into. */
export function makesLasting(path: string, body: Uint8Array | undefined): boolean {
  const isResponse = path === '/v1/responses'
  if (!isResponse && path !== '/v1/chat/completions') return false
  const said = body && body.byteLength <= MAX_BYTES ? membersOf(body) : undefined
  if (!said) return true
  // OpenAI keeps a response unless it is told not to, and a chat only if it is told to.
  return isResponse
    ? said['store'] !== false || said['background'] === true
    : said['store'] === true
}

function membersOf(body: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const said: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
