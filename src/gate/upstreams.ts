// The upstreams of this gate, each behind a circuit breaker of its own: the one place that names a
// kind's implementation.

import type { CallerKind, UpstreamKind } from '../names.ts'
import { breaker, type BreakerNumbers } from '../budget/breaker.ts'
import type { Settings } from '../config/read.ts'
import type { RouteRule, Served } from '../dispatch/choose.ts'
import type { Egress } from '../http1/egress.ts'
import type { Logger } from '../log.ts'
import {
  anthropic,
  type AnthropicOptions,
  servesAnthropic,
} from '../upstream/anthropic/anthropic.ts'
import {
  anthropicOAuth,
  type AnthropicOAuthOptions,
  servesAccount,
} from '../upstream/anthropic/oauth.ts'
import { servesTinfoil, tinfoil, type TinfoilOptions } from '../upstream/tinfoil/tinfoil.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { SigningIn } from './signing-in.ts'
import type { Sources } from './sources.ts'

interface OptionsOf {
  readonly tinfoil: TinfoilOptions
  readonly anthropic: AnthropicOptions
  readonly 'anthropic-oauth': AnthropicOAuthOptions
}

type CallerSettings = Pick<Settings, 'tinfoilCallers' | 'anthropicCallers'>

interface KindOf<Options> {
  readonly make: (options: Options) => Upstream
  readonly serves: Upstream['serves']
  /** Who reaches it, by kind. */
  readonly callers: (settings: CallerSettings) => readonly CallerKind[]
}

/** A kind that is not here does not compile. */
export const KINDS: { readonly [Kind in UpstreamKind]: KindOf<OptionsOf[Kind]> } = {
  tinfoil: { make: tinfoil, serves: servesTinfoil, callers: (set) => set.tinfoilCallers },
  anthropic: { make: anthropic, serves: servesAnthropic, callers: (set) => set.anthropicCallers },
  'anthropic-oauth': { make: anthropicOAuth, serves: servesAccount, callers: () => ['session'] },
}

/** Who reaches which upstream, as the settings say. */
export const routeRules = (
  upstreams: readonly Upstream[],
  settings: CallerSettings,
): readonly RouteRule[] =>
  upstreams.map(({ name, kind }) => ({ upstream: name, callers: KINDS[kind].callers(settings) }))

type UpstreamSource = {
  readonly [Kind in UpstreamKind]: { readonly kind: Kind; readonly options: OptionsOf[Kind] }
}[UpstreamKind]

export interface UpstreamParts {
  readonly settings: Settings
  readonly from: Pick<Sources, 'tinfoil' | 'anthropic'>
  readonly way: Pick<Egress, 'proxyTo'>
  /** Absent where nobody signs in. */
  readonly signIn?: Pick<SigningIn, 'apiBaseUrl' | 'accessToken'> | undefined
}

/** Every upstream that the settings name, in the order in which they are told of. */
export function upstreams(parts: UpstreamParts): readonly Upstream[] {
  return sourcesOf(parts).map(made)
}

/** With keys that are read anew by each request. */
export function exchangeable(
  { tinfoil, anthropic }: UpstreamParts['from'],
  settings: () => Settings,
): UpstreamParts['from'] {
  return {
    ...(tinfoil && {
      tinfoil: {
        ...tinfoil,
        apiKey: { reveal: () => (settings().tinfoilApiKey ?? tinfoil.apiKey).reveal() },
      },
    }),
    ...(anthropic && {
      anthropic: {
        ...anthropic,
        apiKey: { reveal: () => (settings().anthropicApiKey ?? anthropic.apiKey).reveal() },
      },
    }),
  }
}

const made = <Kind extends UpstreamKind>({ kind, options }: UpstreamSource & { kind: Kind }) =>
  (KINDS[kind] as KindOf<OptionsOf[Kind]>).make(options as OptionsOf[Kind])

function sourcesOf({ settings, from, way, signIn }: UpstreamParts): readonly UpstreamSource[] {
  const { maxPayloadSize: maxBodyBytes, requireEhbp, tinfoilEnclaveHosts } = settings
  const isProxied = (hostname: string, port: number): boolean =>
    way.proxyTo(hostname, port) !== undefined
  const sealed = {
    requireEhbp,
    enclaveHosts: tinfoilEnclaveHosts,
    maxBodyBytes: settings.maxRequestBodyBytes,
    isProxied,
  }
  const { tinfoil, anthropic } = from
  return [
    ...(tinfoil ? [{ kind: 'tinfoil' as const, options: { ...tinfoil, ...sealed } }] : []),
    ...(anthropic ? [{ kind: 'anthropic' as const, options: { ...anthropic, maxBodyBytes } }] : []),
    ...(signIn
      ? [
          {
            kind: 'anthropic-oauth' as const,
            options: { baseUrl: signIn.apiBaseUrl, accessToken: signIn.accessToken, maxBodyBytes },
          },
        ]
      : []),
  ]
}

/** How long a probe that has a connection keeps others from trying. */
const PROBE_ANSWER_SECONDS = 5

/** How long an upstream may answer nobody before it is asked whether it is there. */
const MAX_STALL_MS = 40_000
const MIN_STALL_MS = 2000

/** Well within the time that requests have for their answers. */
const stallMs = ({ headersTimeoutSeconds }: Settings): number =>
  Math.min(MAX_STALL_MS, Math.max(MIN_STALL_MS, (headersTimeoutSeconds * 1000) / 3))

export const breakerNumbers = (settings: Settings): BreakerNumbers => ({
  failureThreshold: settings.circuitFailures,
  successThreshold: settings.circuitSuccesses,
  openMs: settings.circuitOpenSeconds * 1000,
  probeMs: (settings.connectTimeoutSeconds + PROBE_ANSWER_SECONDS) * 1000,
  stallMs: stallMs(settings),
})

export function guarded(upstream: Upstream, settings: Settings, log: Logger): Served {
  return {
    upstream,
    breaker: breaker({
      ...breakerNumbers(settings),
      onChange: (state, of) => {
        const change = { upstream: upstream.name, state, of }
        if (of === 'caller') log.info(change, 'circuit breaker')
        else log.warn(change, 'circuit breaker')
      },
    }),
  }
}
