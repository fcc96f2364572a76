// The three members of a request's body that limits are decided by, read as the upstream will read
// them. A body that two parsers could read differently is refused, never guessed at: what an allow
// list has let through must not be another model two hops further on. Only called where a token has
// a list of models or a cap; nothing is kept of the rest, and the bytes that go out are these.

import { type NoMembers, readMembers } from './members.ts'

export interface RequestFields {
  readonly model: string
  /** Undefined where the body names none; whether it had to is the route's affair. */
  readonly maxTokens: number | undefined
  readonly stream: boolean
}

export type Unreadable =
  NoMembers | 'missing_model' | 'wrong_model' | 'wrong_max_tokens' | 'wrong_stream'

export type FieldsRead =
  | { readonly ok: true; readonly value: RequestFields }
  | { readonly ok: false; readonly reason: Unreadable }

/** What bounds the answer: `POST /v1/complete` has a name of its own for it. */
export type MaxTokensMember = 'max_tokens' | 'max_tokens_to_sample'

/** No blank or control that another parser might trim or stop at, and nothing outside of ASCII. */
const MODEL = /^[!-~]{1,256}$/
/** `1e3` and `1024.0` are integers to some parsers and mistakes to others. */
const POSITIVE_INTEGER = /^[1-9]\d{0,15}$/

export function readRequestFields(
  body: Uint8Array,
  maxTokensMember: MaxTokensMember = 'max_tokens',
): FieldsRead {
  const members = readMembers(body, ['model', maxTokensMember, 'stream'])
  if (!members.ok) return members

  const [model, maxTokens] = [members.value.get('model'), members.value.get(maxTokensMember)]
  const stream = members.value.get('stream') ?? 'false'
  if (model === undefined) return not('missing_model')
  const name: unknown = model.startsWith('"') ? JSON.parse(model) : undefined
  if (typeof name !== 'string' || !MODEL.test(name)) return not('wrong_model')
  const count = maxTokens === undefined ? undefined : Number(maxTokens)
  if (maxTokens !== undefined && !(POSITIVE_INTEGER.test(maxTokens) && Number.isSafeInteger(count)))
    return not('wrong_max_tokens')
  if (stream !== 'true' && stream !== 'false') return not('wrong_stream')
  return { ok: true, value: { model: name, maxTokens: count, stream: stream === 'true' } }
}

function not(reason: Unreadable): FieldsRead {
  return { ok: false, reason }
}
