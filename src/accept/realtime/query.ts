// The query of a realtime connection. It goes to the upstream, so nothing is in it that this gate does not
// know: a credential, or a call of somebody else's. Pure.

import { type Decision, granted, refused } from '../../refusal.ts'

export interface RealtimeQuery {
  /** Undefined for a transcription, whose model an event names. */
  readonly model: string | undefined
  /** As it is sent on, with its `?`. */
  readonly search: string
}

/** As in a body: what no parser trims. */
const MODEL = /^[!-~]{1,256}$/

/** `bound`: the only model that the caller's client secret is for. */
export function realtimeQuery(search: string, bound?: string): Decision<RealtimeQuery> {
  const query = new URLSearchParams(search)
  const unknown = [...query.keys()].find((name) => name !== 'model' && name !== 'intent')
  if (unknown === 'call_id') return refused('bad_request', CALLS)
  if (unknown !== undefined) return refused('bad_request', UNKNOWN)
  const models = query.getAll('model')
  const intents = query.getAll('intent')
  if (models.length > 1 || intents.length > 1) return refused('bad_request', TWICE)
  const [intent] = intents
  if (intent !== undefined && intent !== 'transcription') return refused('bad_request', INTENT)
  const model = models[0] ?? bound
  if (model === undefined) {
    return intent === undefined
      ? refused('invalid_model', { message: NAME_ONE, reason: 'missing_model' })
      : granted({ model, search: `?${query}` })
  }
  if (bound !== undefined && model !== bound) {
    return refused('model_not_allowed', { message: `this client secret is for ${bound}` })
  }
  if (!MODEL.test(model)) return refused('invalid_model', { reason: 'wrong_model' })
  if (models.length === 0) query.set('model', model)
  // Written anew: some servers take `;` for `&`, and would read two models.
  return granted({ model, search: `?${query}` })
}

const NAME_ONE = 'the query must name a model: /v1/realtime?model=…'
const CALLS = {
  message: 'calls are not served here: a call_id is not yours alone',
  reason: 'call_id',
}
const UNKNOWN = {
  message: 'the query may hold model and intent, and nothing else',
  reason: 'query',
}
const TWICE = { message: 'the query names model or intent twice', reason: 'query' }
const INTENT = { message: 'intent may be transcription', reason: 'query' }
