// The identity providers whose users are admitted, each with its keys, and admission over all of them.

import type { Ask } from '../http1/ask.ts'
import { type Logger, telling } from '../log.ts'
import type { PolicyOf } from '../policy/select.ts'
import type { Identify } from '../token/identity.ts'
import { type UserAdmission, userAdmission } from './admit.ts'
import { discoverKeySet } from './discovery.ts'
import { issuerMistakes, issuerOf, type IssuerSettings } from './issuer-settings.ts'
import { jwksSource, type KeySource } from './jwks.ts'

export interface Issuers extends UserAdmission {
  /** False until at least one issuer has keys: then its users are served. */
  ready(now: number): boolean
  start(): void
  stop(): void
  /**
   * Returns a function that puts exactly these issuers in place, with this policy. An issuer that
   * stays keeps its keys; every token is verified again. Throws if the settings have mistakes.
   */
  prepare(all: readonly IssuerSettings[], policyOf: PolicyOf): () => void
}

export interface IssuersParts {
  readonly ask: Ask
  readonly identify: Identify
  /** The identities under former keys. */
  readonly former?: () => readonly Identify[]
  readonly onFormer?: (identity: string, former: readonly string[]) => void
  readonly policyOf: PolicyOf
  readonly log: Logger
}

/** Throws if the settings have mistakes. */
export function issuers(all: readonly IssuerSettings[], parts: IssuersParts): Issuers {
  const { ask, identify, former, onFormer, log } = parts
  let started = false
  let sources: ReadonlyMap<string, KeySource> = new Map()
  let admission: UserAdmission = userAdmission([], identify, parts.policyOf, former, onFormer)

  const prepare: Issuers['prepare'] = (all, policyOf) => {
    const mistakes = issuerMistakes(all)
    if (mistakes.length > 0) throw new Error(mistakes.join('\n'))
    const before = sources
    const next = new Map<string, KeySource>()
    const issuers = all.map((settings) => {
      const same = sourceOf(settings)
      const keys = before.get(same) ?? keySource(settings, ask, log)
      next.set(same, keys)
      return issuerOf(settings, keys)
    })
    return () => {
      sources = next
      admission = userAdmission(issuers, identify, policyOf, former, onFormer)
      for (const [same, keys] of before) if (!next.has(same)) keys.stop()
      if (started) for (const [same, keys] of next) if (!before.has(same)) keys.start()
    }
  }
  prepare(all, parts.policyOf)()

  /**
   * Where issuers and policies were exchanged while keys were awaited, those of now decide: an issuer of
   * before may be gone, or go by another name in the rules of now.
   */
  const admit: Issuers['admit'] = (credentials, now) => {
    const by = admission
    const found = by.admit(credentials, now)
    if (!(found instanceof Promise)) return found
    return found.then((decision) => (admission === by ? decision : admit(credentials, now)))
  }
  const enrolling: Issuers['enrolling'] = async (credentials, now) => {
    const by = admission
    const found = await by.enrolling(credentials, now)
    return admission === by ? found : enrolling(credentials, now)
  }

  return {
    admit,
    enrolling,
    ready: (now) => [...sources.values()].some((keys) => keys.ready(now)),
    start() {
      started = true
      for (const keys of sources.values()) keys.start()
    },
    stop() {
      for (const keys of sources.values()) keys.stop()
    },
    prepare,
  }
}

/** Equal for issuers whose keys are the same and read as often. */
function sourceOf(settings: IssuerSettings): string {
  const { name, issuer, jwksUrl, refreshSeconds, maxStaleSeconds, plainHosts } = settings
  const times = [refreshSeconds, maxStaleSeconds]
  return JSON.stringify([name, issuer, jwksUrl?.href, ...times, plainHosts])
}

function keySource(settings: IssuerSettings, ask: Ask, log: Logger): KeySource {
  const { name, jwksUrl, refreshSeconds, maxStaleSeconds } = settings
  return jwksSource({
    ask,
    url: jwksUrl ?? (() => discoverKeySet(ask, settings)),
    refreshMs: refreshSeconds * 1000,
    maxStaleMs: maxStaleSeconds * 1000,
    // An issuer without a name of its own needs none in the log.
    log: name === 'default' ? log : telling(log, { issuer: name }),
  })
}
