// Reads the cost of a request to Anthropic's API from its body, if a limit depends on it.

import { type Decision, granted, type Refusal, refused } from '../../refusal.ts'
import type { Costly } from '../costly.ts'
import { ambiguousBody } from '../reading/unparsed.ts'
import {
  type MaxTokensMember,
  readBatchFields,
  readRequestFields,
  type UnreadableRequest,
} from './request-fields.ts'

/** The paths with a body that limits depend on, and the member that bounds the response. */
const READ = new Map<string, { readonly member: MaxTokensMember; readonly free?: boolean }>([
  ['/v1/messages', { member: 'max_tokens' }],
  ['/v1/messages/count_tokens', { member: 'max_tokens', free: true }],
  ['/v1/complete', { member: 'max_tokens_to_sample' }],
])

const BATCHES = '/v1/messages/batches'

const UNREAD =
  'this token is limited in models or spending, and this gate cannot tell which models a request to this route runs or what it costs'

export function anthropicCost(path: string, body: Uint8Array): Decision<Costly> {
  if (path === BATCHES) return batchCost(body)
  const route = READ.get(path)
  if (!route) return refused('unknown_cost', { message: UNREAD })
  const read = readRequestFields(body, route.member)
  return read.ok ? granted({ ...read.value, free: route.free === true }) : unreadable(read.reason)
}

/**
 * For other servers of this dialect. Some read 0 as no bound; for Anthropic it only fills a cache.
 */
export function foreignCost(path: string, body: Uint8Array): Decision<Costly> {
  const found = anthropicCost(path, body)
  if (!found.ok) return found
  const { requests } = found.value
  return granted(
    requests ? { ...found.value, requests: requests.map(unbound) } : unbound(found.value),
  )
}

const unbound = (costly: Costly): Costly =>
  costly.maxTokens === 0 ? { ...costly, maxTokens: undefined, isBoundByModel: true } : costly

function batchCost(body: Uint8Array): Decision<Costly> {
  const read = readBatchFields(body)
  if (!read.ok) return unreadable(read.reason)
  const [first] = read.value
  return first ? granted({ ...first, requests: read.value }) : unreadable('missing_model')
}

function unreadable(reason: UnreadableRequest): Refusal {
  switch (reason) {
    case 'missing_model':
    case 'wrong_model':
      return refused('invalid_model', { reason })
    case 'wrong_max_tokens':
      return refused('invalid_max_tokens', { reason })
    case 'wrong_stream':
      return refused('invalid_stream', { reason })
    case 'wrong_count':
      return refused('invalid_count', { reason })
    case 'too_many_models':
      return refused('too_many_models', { reason })
    default:
      return ambiguousBody(reason)
  }
}
