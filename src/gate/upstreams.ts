// Creates the upstreams of this gate, each with its own circuit breaker. Only this file names the
// implementations of the kinds.

import { breaker, type BreakerNumbers } from '../budget/breaker.ts'
import type { Settings } from '../config/read.ts'
import type { Offered, Served } from '../dispatch/choose.ts'
import type { Egress } from '../http1/egress.ts'
import type { Logger } from '../log.ts'
import type { UpstreamKind } from '../names.ts'
import { anthropic } from '../upstream/anthropic/anthropic.ts'
import { servesAllOfAnthropic } from '../upstream/anthropic/api.ts'
import { anthropicOAuth } from '../upstream/anthropic/oauth.ts'
import { openAi } from '../upstream/openai/openai.ts'
import { servesAllOfOpenAi } from '../upstream/openai/routes.ts'
import { servesTinfoil, tinfoil } from '../upstream/tinfoil/tinfoil.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { SigningIn } from './signing-in.ts'
import type { UpstreamSource, UpstreamSourceOf } from './sources.ts'

export interface UpstreamParts {
  /** Read for each request. */
  readonly settings: () => Settings
  readonly way: Pick<Egress, 'proxyTo'>
  /** Absent without sign-in, and for `postern check`. */
  readonly signIn?: Pick<SigningIn, 'apiBaseUrl' | 'accessToken'> | undefined
}

interface KindOf<Source> {
  readonly serves: Upstream['serves']
  /** Undefined if the gate lacks what the upstream needs. */
  readonly make: (source: Source, parts: UpstreamParts) => Upstream | undefined
}

/** A kind that is missing here is a compile error. */
export const KINDS: { readonly [Kind in UpstreamKind]: KindOf<UpstreamSourceOf<Kind>> } = {
  tinfoil: {
    serves: servesTinfoil,
    make: (source, { settings, way }) =>
      tinfoil({
        ...source,
        get maxBodyBytes() {
          return settings().maxRequestBodyBytes
        },
        isProxied: (hostname, port) => way.proxyTo(hostname, port) !== undefined,
      }),
  },
  anthropic: {
    serves: servesAllOfAnthropic,
    make: ({ headers = [], apiKey, hasFiles = false, ...source }, { settings }) =>
      anthropic(sizedAs({ ...source, headers, apiKey, hasFiles }, settings)),
  },
  'anthropic-oauth': {
    serves: servesAllOfAnthropic,
    make({ name }, { settings, signIn }) {
      if (!signIn) return undefined
      const { apiBaseUrl: baseUrl, accessToken } = signIn
      return anthropicOAuth(sizedAs({ name, baseUrl, accessToken }, settings))
    },
  },
  openai: {
    serves: servesAllOfOpenAi,
    make: ({ headers = [], apiKey, hasFiles = false, ...source }, { settings }) =>
      openAi(sizedAs({ ...source, headers, apiKey, hasFiles }, settings)),
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

/** Undefined if the gate lacks what this upstream needs. */
export function offered(source: UpstreamSource, parts: UpstreamParts): Offered | undefined {
  const upstream = (KINDS[source.kind] as KindOf<UpstreamSource>).make(source, parts)
  return upstream && { upstream, ...offerOf(source) }
}

/** The settings of an upstream that decide which requests go there. */
export const offerOf = ({
  callers,
  models,
  askModels = false,
}: UpstreamSource): Omit<Offered, 'upstream'> => ({ callers, models, asks: askModels })

/** How long a probe with a connection keeps other requests from probing. */
const PROBE_ANSWER_SECONDS = 5

/** How long an upstream may answer nobody before the gate checks that it is reachable. */
const MAX_STALL_MS = 40_000
const MIN_STALL_MS = 2000

/** Much shorter than the timeout of a request. */
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

/** What opens a circuit, by the settings of now. */
export function retune(served: readonly Served[], settings: Settings): void {
  for (const { breaker } of served) breaker.retune(breakerNumbers(settings))
}
