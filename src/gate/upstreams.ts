// The upstreams of this gate, each behind a circuit breaker of its own: the one place that names a
// kind's implementation.

import { breaker, type BreakerNumbers } from '../budget/breaker.ts'
import type { Settings } from '../config/read.ts'
import type { UpstreamEntry } from '../config/upstreams.ts'
import type { Offered, Served } from '../dispatch/choose.ts'
import type { Egress } from '../http1/egress.ts'
import type { Logger } from '../log.ts'
import type { UpstreamKind } from '../names.ts'
import type { Revealing } from '../secret.ts'
import { anthropic } from '../upstream/anthropic/anthropic.ts'
import { servesAccount, servesAnthropic } from '../upstream/anthropic/api.ts'
import { anthropicOAuth } from '../upstream/anthropic/oauth.ts'
import { openAi } from '../upstream/openai/openai.ts'
import { servesAllOfOpenAi } from '../upstream/openai/routes.ts'
import { servesTinfoil, tinfoil } from '../upstream/tinfoil/tinfoil.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { SigningIn } from './signing-in.ts'
import type { Sources, UpstreamSource, UpstreamSourceOf } from './sources.ts'

export interface UpstreamParts {
  /** As they are when a request asks for them. */
  readonly settings: () => Settings
  readonly from: Pick<Sources, 'upstreams'>
  readonly way: Pick<Egress, 'proxyTo'>
  /** Absent where nobody signs in, and for `postern check`. */
  readonly signIn?: Pick<SigningIn, 'apiBaseUrl' | 'accessToken'> | undefined
}

interface KindOf<Source> {
  readonly serves: Upstream['serves']
  /** Undefined where what it needs of the gate is not there. */
  readonly make: (source: Source, parts: UpstreamParts) => Upstream | undefined
}

/** A kind that is not here does not compile. */
export const KINDS: { readonly [Kind in UpstreamKind]: KindOf<UpstreamSourceOf<Kind>> } = {
  tinfoil: {
    serves: servesTinfoil,
    make: (source, { settings, way }) =>
      tinfoil({
        ...source,
        get enclaveHosts() {
          return entryOf(source, settings()).enclaveHosts
        },
        get maxBodyBytes() {
          return settings().maxRequestBodyBytes
        },
        isProxied: (hostname, port) => way.proxyTo(hostname, port) !== undefined,
      }),
  },
  anthropic: {
    serves: servesAnthropic,
    make: (source, { settings }) =>
      anthropic({
        ...source,
        get headers() {
          return entryOf(source, settings()).headers ?? []
        },
        apiKey: source.apiKey,
        get maxBodyBytes() {
          return settings().maxPayloadSize
        },
      }),
  },
  'anthropic-oauth': {
    serves: servesAccount,
    make({ name }, { settings, signIn }) {
      if (!signIn) return undefined
      const { apiBaseUrl: baseUrl, accessToken } = signIn
      return anthropicOAuth(sizedAs({ name, baseUrl, accessToken }, settings))
    },
  },
  openai: {
    serves: servesAllOfOpenAi,
    make: (source, { settings }) =>
      openAi({
        ...source,
        get headers() {
          return entryOf(source, settings()).headers ?? []
        },
        get keyHeader() {
          return entryOf(source, settings()).keyHeader
        },
        apiKey: source.apiKey,
        get maxBodyBytes() {
          return settings().maxPayloadSize
        },
      }),
  },
}

function sizedAs<Options extends object>(options: Options, settings: () => Settings) {
  return {
    ...options,
    get maxBodyBytes() {
      return settings().maxPayloadSize
    },
  }
}

/** Every upstream that the settings name, in their order. */
export const upstreams = (parts: UpstreamParts): readonly Offered[] =>
  parts.from.upstreams.flatMap((source) => {
    const upstream = made(source, parts)
    const { callers, models, askModels: asks = false } = source
    return upstream ? [{ upstream, callers, models, asks }] : []
  })

const made = <Kind extends UpstreamKind>(
  source: UpstreamSource & { readonly kind: Kind },
  parts: UpstreamParts,
): Upstream | undefined => (KINDS[source.kind] as KindOf<UpstreamSource>).make(source, parts)

/** With keys that are read anew by each request. */
export const exchangeable = (
  upstreams: readonly UpstreamSource[],
  settings: () => Settings,
): readonly UpstreamSource[] =>
  upstreams.map((source) =>
    isKeyed(source)
      ? { ...source, apiKey: { reveal: () => keyOf(source, settings()).reveal() } }
      : source,
  )

const isKeyed = (
  source: UpstreamSource,
): source is UpstreamSource & { readonly apiKey: Revealing } =>
  'apiKey' in source && source.apiKey !== undefined

function keyOf(
  source: UpstreamSource & { readonly apiKey: Revealing },
  settings: Settings,
): Revealing {
  const entry = entryOf(source, settings)
  return ('apiKey' in entry ? entry.apiKey : undefined) ?? source.apiKey
}

/** As the settings have it now. In development mode it may not be in them. */
function entryOf<Source extends UpstreamSource>(source: Source, { upstreams }: Settings) {
  // A closure for each request would cost more than to look.
  for (const each of upstreams) {
    if (each.name === source.name && each.kind === source.kind) {
      return each as Extract<UpstreamEntry, Pick<Source, 'kind'>>
    }
  }
  return source
}

/** How long a probe that has a connection keeps others from trying. */
const PROBE_ANSWER_SECONDS = 5

/** How long an upstream may answer nobody before it is asked whether it is there. */
const MAX_STALL_MS = 40_000
const MIN_STALL_MS = 2000

/** Well within the time that requests have for their answers. */
const stallMs = ({ headersTimeoutSeconds }: Settings): number =>
  Math.min(MAX_STALL_MS, Math.max(MIN_STALL_MS, (headersTimeoutSeconds * 1000) / 3))

const breakerNumbers = (settings: Settings): BreakerNumbers => ({
  failureThreshold: settings.circuitFailures,
  successThreshold: settings.circuitSuccesses,
  openMs: settings.circuitOpenSeconds * 1000,
  probeMs: (settings.connectTimeoutSeconds + PROBE_ANSWER_SECONDS) * 1000,
  stallMs: stallMs(settings),
})

export function guarded(offered: Offered, settings: Settings, log: Logger): Served {
  return {
    ...offered,
    breaker: breaker({
      ...breakerNumbers(settings),
      onChange: (state, of) => {
        const change = { upstream: offered.upstream.name, state, of }
        if (of === 'caller') log.info(change, 'circuit breaker')
        else log.warn(change, 'circuit breaker')
      },
    }),
  }
}

/** By the settings of now: what opens a circuit, and which models an upstream serves. */
export function retune(served: readonly Served[], settings: Settings): void {
  for (const each of served) {
    each.breaker.retune(breakerNumbers(settings))
    const entry = settings.upstreams.find(({ name }) => name === each.upstream.name)
    if (!entry) continue
    each.models = entry.models
    each.asks = entry.askModels ?? false
  }
}
