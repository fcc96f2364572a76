// `results_url` of a batch, which Anthropic's clients follow as it is: with the upstream's host, a caller's
// credential would go there past the gate. Only the host is taken out, so that it leads to the gate.

import { type Decision, granted } from '../../refusal.ts'

const NAME = '"results_url"'
const PATH = '/v1/messages/batches/'
const ONE = /^\/v1\/messages\/batches\/[^/]+$/

export const namesResults = (method: string, path: string): boolean =>
  method === 'GET' && ONE.test(path)

export function withOwnResults(body: Uint8Array): Decision<Uint8Array> {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
  const name = text.indexOf(NAME)
  const from = text.indexOf('"http', name + NAME.length) + 1
  const at = text.indexOf(PATH, from)
  const isUrl = name >= 0 && from > 0 && at > from && !text.slice(from, at).includes('"')
  return granted(isUrl ? Buffer.from(text.slice(0, from) + text.slice(at), 'latin1') : body)
}
