// Whether a request makes something that stays at the upstream, so that a second one would leave a first
// that nobody knows of. Asked only where an attempt may have been acted on.

import { callersObject } from './caller-json.ts'

/** Far above what is read for it usually; beyond, the answer is the careful one. */
const MAX_BYTES = 4_194_304

/** `body`: as it goes out; undefined or encoded is not looked into. */
export function makesLasting(path: string, body: Uint8Array | undefined): boolean {
  const isResponse = path === '/v1/responses'
  if (!isResponse && path !== '/v1/chat/completions') return false
  const said = body && body.byteLength <= MAX_BYTES ? callersObject(body) : undefined
  if (!said) return true
  // OpenAI keeps a response unless it is told not to, and a chat only if it is told to.
  return isResponse
    ? said['store'] !== false || said['background'] === true
    : said['store'] === true
}
