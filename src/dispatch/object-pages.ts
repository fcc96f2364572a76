// One page of an upstream's list of stored objects, asked for by the gate itself under the operator's key.
// It shows what every caller made, so nothing of it passes as it is.

import { circuitOpen } from '../budget/refusals.ts'
import type { AskAt, Reply } from '../http1/ask.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { instant } from '../turn/instant.ts'
import { echoOf } from '../upstream/echo.ts'
import type { KeyRefused } from '../upstream/key-refused.ts'
import { type ObjectPage, objectPageIn } from '../upstream/reading/listed-objects.ts'
import { copyAllowed, type Upstream } from '../upstream/upstream.ts'
import type { Served } from './choose.ts'

export interface PageAsked {
  readonly path: string
  readonly search: string
  /** The caller's own. */
  readonly headers: Headers
  readonly identity: string
  readonly timeoutMs: number
}

export type AskPage = (on: Served, asked: PageAsked) => Promise<Decision<ObjectPage>>

/** A hundred chats with their answers, or a thousand files. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024
/** What decides the form of the list. */
const PASSED = ['openai-beta', 'anthropic-beta', 'anthropic-version', 'anthropic-workspace-id']

export function askingPages(ask: AskAt, keyRefused: KeyRefused): AskPage {
  return async ({ upstream, breaker }, { path, search, headers, identity, timeoutMs }) => {
    const { monotonicMs: now } = instant()
    const to = await upstream.destination({ method: 'GET', path, search, sealed: false }, now)
    if (!to.ok) return to
    const asking = { caller: identity, host: '', route: `GET ${path}`, model: undefined }
    const entry = breaker.enter(asking, now)
    if (!entry.ok) return circuitOpen(entry.own, entry.retryAfterSeconds)
    const { pass } = entry
    const sent = upstream.requestHeaders(
      new Headers({ ...copyAllowed(PASSED, headers), accept: 'application/json' }),
    )
    const reply = await ask(to.value, {
      method: 'GET',
      headers: sent,
      timeoutMs,
      maxBytes: MAX_PAGE_BYTES,
      reads: (status) => status === 200 || status === 403,
    })
    const after = instant().monotonicMs
    if (!reply.ok) {
      pass.report(reply.kind === 'too large' ? 'neutral' : 'failure', after)
      return failed(reply)
    }
    pass.answered(reply.status, after)
    pass.report(reply.status < 300 ? 'success' : 'neutral', after)
    const { status, body } = reply
    if (status !== 200) return unfit(upstream, status, body, keyRefused, after)
    if (echoOf(sent).inBytes(body)) return invalid('the answer quotes a credential of this gate')
    // As of each of its objects alone.
    const own = upstream.rewriting?.('GET', `${path}/:id`)?.(body) ?? granted(body)
    if (!own.ok) return own
    const page = objectPageIn(own.value)
    return page ? granted(page) : invalid('list of stored objects cannot be read')
  }
}

const invalid = (reason: string): Refusal => refused('upstream_invalid', { reason })

function failed({ kind, reason }: Extract<Reply, { ok: false }>): Refusal {
  if (kind === 'late') return refused('upstream_timeout', { reason })
  if (kind === 'too large') return invalid('list of stored objects is too large')
  return refused('upstream_unavailable', { reason })
}

/** No error of the upstream passes: it may name objects of others. */
function unfit(
  upstream: Upstream,
  status: number,
  body: Uint8Array,
  keyRefused: KeyRefused,
  now: number,
): Refusal {
  const text = status === 403 ? Buffer.from(body).toString('latin1') : ''
  const refusal = upstream.credentialRefused(status, text)
  if (refusal) {
    if (refusal.code === 'upstream_auth') keyRefused(upstream, status, now)
    return refusal
  }
  const reason = `upstream status ${status}`
  if (status >= 300 && status < 400) return refused('upstream_redirect', { reason })
  if (status === 404) return refused('not_found', { reason, message: NO_LIST })
  if (status === 400 || status === 422)
    return refused('bad_request', { reason, message: NOT_TAKEN })
  return status === 429 || status >= 500
    ? refused('upstream_unavailable', { reason })
    : invalid(reason)
}

const NO_LIST = 'the upstream has no such list, or no longer the object to list from'
const NOT_TAKEN = 'the upstream does not accept the query of this list'
