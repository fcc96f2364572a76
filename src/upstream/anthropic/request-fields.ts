// Reads the members of a request's body that limits depend on, as the upstream will read them. A body
// that two parsers could read differently is refused: an allowed model must not become another one two
// hops later. It is called only for tokens with a model list or a cap; it keeps nothing else, and the
// body is sent unchanged.

import type { Costly } from '../costly.ts'
import { countIn, modelIn, stringIn } from '../reading/members.ts'
import { priceClassesIn } from '../reading/price-classes.ts'
import {
  Outline,
  type OutlinedMembers,
  type OutlineMember,
  type OutlineShape,
  type Unparsed,
} from '../reading/outline.ts'
import {
  type Gathered,
  LEGACY_REQUEST,
  NAMES,
  nothingGathered,
  REQUEST,
  type Trouble,
} from './request-shape.ts'

export type RequestFields = Omit<Costly, 'free'> & { readonly stream: boolean }

export type UnreadableRequest =
  Unparsed | Trouble | 'missing_model' | 'wrong_max_tokens' | 'wrong_stream'

export type FieldsRead =
  | { readonly ok: true; readonly value: RequestFields }
  | { readonly ok: false; readonly reason: UnreadableRequest }

/** The member that bounds the response; `POST /v1/complete` has another name for it. */
export type MaxTokensMember = 'max_tokens' | 'max_tokens_to_sample'

export function readRequestFields(
  body: Uint8Array,
  maxTokensMember: MaxTokensMember = 'max_tokens',
): FieldsRead {
  const gathered = nothingGathered()
  const shape = maxTokensMember === 'max_tokens' ? REQUEST : LEGACY_REQUEST
  const found = new Outline(body, NAMES, gathered).read(shape)
  if (typeof found === 'string') return not(found)
  return fieldsIn(found, gathered, body.byteLength, maxTokensMember)
}

interface GatheredBatch extends Gathered {
  readonly requests: Costly[]
  unreadable: UnreadableRequest | undefined
}

const PARAMS: OutlineShape<GatheredBatch> = {
  members: REQUEST.members,
  leave(found, to, bytes) {
    const { requests, unreadable, ...gathered } = to
    const read = fieldsIn(found, gathered, bytes, 'max_tokens')
    if (read.ok) {
      const priceClasses = batched(read.value.priceClasses)
      requests.push({ ...read.value, priceClasses, free: false })
    } else to.unreadable = unreadable ?? read.reason
    Object.assign(to, nothingGathered())
  },
}
const BATCH: OutlineShape<GatheredBatch> = {
  members: new Map([
    ['requests', { members: new Map<string, OutlineMember<GatheredBatch>>([['params', PARAMS]]) }],
  ]),
}

/** Its own tier, whatever a request in it asks for. */
const batched = (priceClasses: readonly string[]): readonly string[] => [
  ...priceClasses.filter((each) => !each.startsWith('service_tier:')),
  'service_tier:batch',
]

export type BatchRead =
  | { readonly ok: true; readonly value: readonly Costly[] }
  | { readonly ok: false; readonly reason: UnreadableRequest }

/** `POST /v1/messages/batches`: each request that it carries. */
export function readBatchFields(body: Uint8Array): BatchRead {
  const gathered: GatheredBatch = { ...nothingGathered(), requests: [], unreadable: undefined }
  const found = new Outline(body, NAMES, gathered).read(BATCH)
  if (typeof found === 'string') return { ok: false, reason: found }
  const { requests, models, fallbacks, unknown, trouble, unreadable } = gathered
  if (unreadable) return { ok: false, reason: unreadable }
  if (trouble) return { ok: false, reason: trouble }
  if (requests.length === 0) return { ok: false, reason: 'missing_model' }
  // Named outside of all requests, where the API has no such member.
  if (models.length + fallbacks.length + unknown.length > 0)
    return { ok: false, reason: 'wrong_model' }
  return { ok: true, value: requests }
}

function fieldsIn(
  found: OutlinedMembers,
  gathered: Gathered,
  bytes: number,
  maxTokensMember: MaxTokensMember,
): FieldsRead {
  const model = modelIn(found.get('model'))
  if (!found.has('model')) return not('missing_model')
  if (model === undefined) return not('wrong_model')
  const maxTokens = found.get(maxTokensMember)
  const count = countIn(maxTokens)
  if (count === null || maxTokens === 'null') return not('wrong_max_tokens')
  const stream = found.get('stream') ?? 'false'
  if (stream !== 'true' && stream !== 'false') return not('wrong_stream')
  const { trouble, mediaBytes, ...rest } = gathered
  if (trouble) return not(trouble)
  const classOf = (name: string): unknown =>
    found.has(name) && found.get(name) !== 'null' ? (stringIn(found.get(name)) ?? '?') : null
  return {
    ok: true,
    value: {
      ...rest,
      model,
      maxTokens: count,
      stream: stream === 'true',
      textBytes: bytes - mediaBytes,
      priceClasses: priceClassesIn({
        speed: classOf('speed'),
        inference_geo: classOf('inference_geo'),
        service_tier: classOf('service_tier'),
      }),
    },
  }
}

function not(reason: UnreadableRequest): FieldsRead {
  return { ok: false, reason }
}
