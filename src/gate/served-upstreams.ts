// The upstreams of a running gate, created again if a reload changes them. A running request keeps the
// upstream that it began with, so that no new key goes to an old address.

import type { Settings } from '../config/read.ts'
import type { Served } from '../dispatch/choose.ts'
import type { Logger } from '../log.ts'
import { NAMED_GROUPS, type RouteGroup } from '../names.ts'
import { keepersAmong } from './keepers.ts'
import { type Configuration, isSame } from './reload-change.ts'
import type { Before } from './remade.ts'
import { upstreamSources, type UpstreamSource } from './sources.ts'
import { guarded, offered, offerOf, type UpstreamParts } from './upstreams.ts'

interface Made {
  readonly source: UpstreamSource
  readonly on: Served
}

export interface ServedUpstreams {
  readonly made: readonly Made[]
  /** All lists are in the settings' order. */
  readonly sources: readonly UpstreamSource[]
  readonly served: readonly Served[]
  /** The names of the upstreams that store objects. */
  readonly keepers: ReadonlySet<string>
}

export interface ServedUpstreamsOptions {
  readonly first: readonly UpstreamSource[]
  readonly parts: UpstreamParts
  readonly log: Logger
}

/** Returns the previous object if no upstream has changed. */
export function servedUpstreams(
  { settings }: Configuration,
  before: Before<ServedUpstreams> | undefined,
  { first, parts, log }: ServedUpstreamsOptions,
): ServedUpstreams {
  if (before && isSame(before.configuration.settings.upstreams, settings.upstreams)) {
    return before.made
  }
  const sources = withFiles(before ? upstreamSources(settings) : first)
  const made = sources.flatMap((source): Made[] => {
    const former = before?.made.made.find(({ source: { kind, name } }) => {
      return kind === source.kind && name === source.name
    })
    const on = servedBy(source, former, settings, parts, log)
    return on ? [{ source, on }] : []
  })
  const served = made.map(({ on }) => on)
  return { made, sources, served, keepers: keepersAmong(served) }
}

/** Several upstreams may have one key, so that each knows whether callers make files at any of its kind. */
function withFiles(sources: readonly UpstreamSource[]): readonly UpstreamSource[] {
  const kinds = new Set(
    sources.filter((each) => 'routes' in each && keepsFiles(each)).map(({ kind }) => kind),
  )
  return sources.map((each) => (kinds.has(each.kind) ? { ...each, hasFiles: true } : each))
}

const keepsFiles = ({ routes }: { readonly routes: readonly RouteGroup[] }): boolean =>
  NAMED_GROUPS.some((group) => group !== 'realtime' && routes.includes(group))

function servedBy(
  source: UpstreamSource,
  former: Made | undefined,
  settings: Settings,
  parts: UpstreamParts,
  log: Logger,
): Served | undefined {
  if (former && isSame(former.source, source)) return former.on
  // Keeps its list of models.
  if (former && isSame(itself(former.source), itself(source))) {
    return { ...former.on, ...offerOf(source) }
  }
  const offer = offered(source, parts)
  if (!offer) return undefined
  // Health belongs to the address.
  return former && isSame(addressOf(former.source), addressOf(source))
    ? { ...offer, breaker: former.on.breaker }
    : guarded(offer, settings, log)
}

/** Without the settings that decide which requests go there. */
const itself = (source: UpstreamSource): unknown => ({ ...source, ...NO_OFFER })
const NO_OFFER = { callers: undefined, models: undefined, askModels: undefined }

const addressOf = (source: UpstreamSource): unknown => ('baseUrl' in source ? source.baseUrl : '')
