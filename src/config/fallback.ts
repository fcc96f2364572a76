// Which upstreams stand in for one another, as a document lists it; no variable can. What the members may
// be, the document's schema says; whether they go together is judged here.

import type { FallbackCause, FALLBACK_GROUPS, RouteGroup } from '../names.ts'
import type { Mistake } from './kinds.ts'
import { type Listed, listed } from './policies.ts'
import { DIALECTS, type UpstreamEntry } from './upstreams.ts'

export interface FallbackEntry {
  readonly routes: readonly (typeof FALLBACK_GROUPS)[number][]
  /** Names, in the order in which they are tried. */
  readonly from: readonly string[]
  readonly on?: readonly FallbackCause[]
  readonly attempts?: number
  readonly withinSeconds?: number
  readonly againIfBilled?: boolean
  readonly first?: 'listed' | 'fewest'
  /** One for each of `from`. */
  readonly weights?: readonly number[]
}

export type FallbackGiven = readonly Listed<FallbackEntry>[]

/** As they stand; where `fallbackMistakes` finds any, nothing starts with them. */
export const fallbackEntries = (given: FallbackGiven): readonly FallbackEntry[] =>
  given.map(({ own }) => own as FallbackEntry)

/** Of a failure that an upstream may bill; nobody bills a moderation. */
const BILLED: ReadonlySet<FallbackCause> = new Set(['5xx', 'unanswered'])
const FREE: ReadonlySet<RouteGroup> = new Set(['moderations'])

/** The groups of a Tinfoil, as far as they may fall back; the other kinds say theirs. */
export const TINFOIL_GROUPS: readonly RouteGroup[] = [
  'chat',
  'completions',
  'responses',
  'embeddings',
  'audio',
]

function servesOf(upstream: UpstreamEntry): readonly RouteGroup[] {
  if ('routes' in upstream) return upstream.routes
  return upstream.kind === 'tinfoil' ? TINFOIL_GROUPS : []
}

export function fallbackMistakes(
  given: FallbackGiven,
  upstreams: readonly UpstreamEntry[],
): Mistake[] {
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): void => {
    mistakes.push({ setting, message, hint })
  }
  const known = upstreams.map(({ name }) => name)
  /** By group and name, where it was said. */
  const seen = new Map<string, string>()

  for (const { from: at, own, places } of given) {
    const { routes = [], from = [], on = [], weights } = own
    if (!('routes' in own)) wrong(at, 'lacks routes', 'name the groups that may fall back')
    if (!('from' in own)) wrong(at, 'lacks from', 'name two upstreams or more')
    else if (own.from && from.length < 2)
      wrong(at, 'names one upstream', 'name two or more under from')
    const found: UpstreamEntry[] = []
    for (const [index, name] of from.entries()) {
      const there = places.get(`from[${index}]`) ?? at
      // One that could not be read is a mistake already.
      if (name === undefined) continue
      const upstream = upstreams.find((each) => each.name === name)
      if (!upstream) wrong(there, 'names an upstream that is not there', listed(name, known))
      else if (from.indexOf(name) < index) wrong(there, 'is named twice', 'leave one')
      else {
        found.push(upstream)
        const alone = standsAlone(upstream)
        if (alone) wrong(there, ...alone)
      }
    }
    const dialects = new Set(found.map(({ kind }) => DIALECTS[kind]))
    if (dialects.size > 1) {
      const hint = "nothing is translated: list those of OpenAI's API and of Anthropic's apart"
      wrong(at, 'names upstreams of different APIs', hint)
    }
    for (const [index, group] of routes.entries()) {
      if (group === undefined) continue
      const there = places.get(`routes[${index}]`) ?? at
      const serving = found.filter((each) => servesOf(each).includes(group))
      if (found.length >= 2 && dialects.size === 1 && serving.length < 2) {
        wrong(there, 'is served by fewer than two of these upstreams', 'leave the group out')
      }
      for (const { name } of serving) {
        const before = seen.get(`${group} ${name}`)
        if (before === undefined) seen.set(`${group} ${name}`, at)
        else if (before !== at) {
          wrong(there, `is said of ${name} in ${before} too`, 'leave one')
        }
      }
    }
    const isFree = routes.length > 0 && routes.every((group) => FREE.has(group))
    for (const [index, cause] of on.entries()) {
      if (cause === undefined || !BILLED.has(cause) || isFree || own.againIfBilled === true)
        continue
      const there = places.get(`on[${index}]`) ?? at
      const hint = 'leave it out, or add again_if_billed: true'
      wrong(there, 'is of requests that an upstream may bill', hint)
    }
    if (weights && weights.length !== from.length) {
      wrong(at, 'has not one weight for each of from', `give ${from.length}`)
    }
  }
  return mistakes
}

/** Why nothing stands in for this upstream, and it for none. */
function standsAlone(upstream: UpstreamEntry): [message: string, hint: string] | undefined {
  if (upstream.kind === 'anthropic-oauth') {
    return ["names an upstream whose account is the caller's own", 'leave it out']
  }
  if (upstream.kind === 'tinfoil' && upstream.requireEhbp) {
    const hint = 'a sealed body is for one enclave: leave it out, or set require_ehbp: false'
    return ['names an upstream that takes sealed bodies alone', hint]
  }
  return undefined
}
