// For `postern check`: asks each upstream, with its key, for what costs nothing, and looks whether it has
// the models that the settings name for it.

import { settingNameOf } from '../config/upstreams.ts'
import type { Sources } from '../gate/sources.ts'
import { offered, type UpstreamParts } from '../gate/upstreams.ts'
import { askingAt, type Reply } from '../http1/ask.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import { type Decision, granted } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import { modelsIn } from '../upstream/reading/listed-models.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { statusAdvice } from './check-advice.ts'
import { checkFallback, type ListedBy } from './check-fallback.ts'
import type { CheckOutcome } from './check-outcome.ts'
import { advised } from './egress-advice.ts'

const LIST = '/v1/models'
const WHOLE_LIST = '?limit=1000'
const MAX_LIST_BYTES = 4 * 1024 * 1024
/** What a path can name; the names of others are in lists alone. */
const IN_A_PATH = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/
/** Each is a request. */
const MAX_ASKED = 16

export async function checkUpstreams(
  parts: Pick<UpstreamParts, 'settings' | 'way'> & { readonly from: Sources },
  wire: Transport,
  timeouts: Timeouts,
): Promise<CheckOutcome[]> {
  const ask = askingAt(wire, timeouts)
  const get = async (
    upstream: Upstream,
    path: string,
    own: boolean,
    reads: boolean,
  ): Promise<Decision<Reply>> => {
    const search = reads && upstream.kind === 'anthropic' && path === LIST ? WHOLE_LIST : ''
    const to = await upstream.destination({ method: 'GET', path, search, sealed: false }, 0)
    if (!to.ok) return to
    return granted(
      await ask(to.value, {
        method: 'GET',
        headers: own ? upstream.requestHeaders(new Headers()) : {},
        timeoutMs: timeouts.connectMs + timeouts.headersMs + timeouts.bodyMs,
        maxBytes: MAX_LIST_BYTES,
        reads: (status) => reads && status === 200,
      }),
    )
  }

  const outcomes: CheckOutcome[] = []
  const lists: ListedBy[] = []
  const { fallback } = parts.settings()
  const standsIn = (name: string): boolean => fallback.some(({ from }) => from.includes(name))
  for (const source of parts.from.upstreams) {
    const offer = offered(source, parts)
    if (!offer) continue
    const { upstream, models, asks } = offer
    for (const { path, withKey } of upstream.checks) {
      const isRead = upstream.kind === 'openai' || models !== undefined || asks
      const isList = path === LIST && (isRead || standsIn(upstream.name))
      const found = await get(upstream, path, withKey, isList)
      const outcome = outcomeOf(upstream, path, withKey, found)
      outcomes.push(outcome)
      if (!isList || !outcome.ok || !found.ok || !found.value.ok) continue
      const listed = modelsIn(found.value.body)
      if (!listed.ok) {
        outcomes.push(noList(upstream, asks))
        continue
      }
      const ids = listed.value.map(({ id }) => id)
      lists.push({ name: upstream.name, ids, models })
      const lacking: string[] = []
      let asked = 0
      for (const name of models ?? []) {
        if (listed.value.some(({ id }) => allowedModel(id, [name]))) continue
        // An alias is in no list.
        const isAsked = IN_A_PATH.test(name) && asked < MAX_ASKED
        if (isAsked) asked += 1
        const one = isAsked ? await get(upstream, `${LIST}/${name}`, withKey, false) : undefined
        if (!one?.ok || !one.value.ok || one.value.status !== 200) lacking.push(name)
      }
      if (lacking.length > 0) outcomes.push(lacks(upstream, lacking))
    }
  }
  return [...outcomes, ...checkFallback(fallback, lists)]
}

function outcomeOf(
  upstream: Upstream,
  path: string,
  own: boolean,
  found: Decision<Reply>,
): CheckOutcome {
  const what = (said: string): string => `${upstream.name} ${path}: ${said}`
  if (!found.ok) return { ok: false, what: what(found.code) }
  const reply = found.value
  if (!reply.ok) return { ok: false, what: what(advised(reply.reason)) }
  const said = `status ${reply.status}`
  if (reply.status === 200) return { ok: true, what: what(said) }
  return { ok: false, what: what(`${said}; ${statusAdvice(reply.status, upstream, own)}`) }
}

/** One that is chosen by its list gets nothing without it. */
function noList(upstream: Upstream, asks: boolean): CheckOutcome {
  const todo = `check ${settingNameOf(upstream, 'baseUrl')}`
  const what = `${upstream.name} ${LIST}: this is no list of models: ${todo}`
  return asks ? { ok: false, what } : { ok: true, warning: true, what }
}

const MAX_NAMED = 10

/** A name of the settings is no stranger's text. */
function lacks(upstream: Upstream, names: readonly string[]): CheckOutcome {
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : ''
  const shown = names.slice(0, MAX_NAMED).join(', ') + more
  return { ok: true, warning: true, what: `${upstream.name} ${LIST}: does not have ${shown}` }
}
