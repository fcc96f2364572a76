// `results_url` of a batch, which Anthropic's clients follow as it is: with the upstream's host, a caller's
// credential would go there past the gate. Only the host is taken out, so that it leads to the gate.

import { type Decision, granted } from '../../refusal.ts'

const URL_WITH_HOST = /("results_url"\s*:\s*")https?:[^"]*?(\/v1\/messages\/batches\/)/g
const ONE = /^\/v1\/messages\/batches\/[^/]+$/

export const namesResults = (method: string, path: string): boolean =>
  method === 'GET' && ONE.test(path)

/** Of a batch, or of all on a page. */
export function withOwnResults(body: Uint8Array): Decision<Uint8Array> {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
  const own = text.replaceAll(URL_WITH_HOST, '$1$2')
  return granted(own === text ? body : Buffer.from(own, 'latin1'))
}
