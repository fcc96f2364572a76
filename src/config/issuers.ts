// The configured identity providers: the one that the environment names, or those that a document lists. The
// document's schema validates each member; this file checks how they fit together.

import { issuerContradictions } from './demands.ts'
import { isListed } from './egress-kinds.ts'
import type { Given } from './given.ts'
import { isLoopback } from '../hosts.ts'
import type { Mistake } from './kinds.ts'
import { ownValues } from './own-values.ts'
import type { Key, Values } from './table.ts'

export const AUDIENCE_CLAIMS = ['aud', 'azp', 'client_id'] as const
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

/** Members of an issuer that only a document can give. */
export interface IssuerOwn {
  readonly name?: string
  readonly audienceClaims?: readonly (typeof AUDIENCE_CLAIMS)[number][]
  readonly algorithms?: readonly (typeof ALGORITHMS)[number][]
  readonly scope?: {
    readonly name?: string
    readonly claims?: readonly string[]
    readonly textOnly?: boolean
    readonly optional?: boolean
  }
  readonly subjectClaim?: string
  readonly groupsClaim?: string
  readonly organisationClaim?: string
  /** `NAME=VALUE`: for each named claim, a token must have one of its values. */
  readonly requiredClaims?: readonly string[]
}

/**
 * Issuers that give anybody with an account a token for any audience, and the claim that identifies the
 * operator's own tokens.
 */
const SHARED_ISSUERS: ReadonlyMap<string, string> = new Map([
  ['https://accounts.google.com', 'hd=example.com'],
  ['https://token.actions.githubusercontent.com', 'repository_owner=acme'],
  ['https://gitlab.com', 'namespace_path=acme'],
  ['https://agent.buildkite.com', 'organization_slug=acme'],
  ['https://app.terraform.io', 'terraform_organization_name=acme'],
])

/** The claim that the settings of such an issuer must require; undefined if none is missing. */
export function missingClaim(
  issuer: string,
  requiredClaims: readonly string[] = [],
): string | undefined {
  return requiredClaims.length > 0 ? undefined : SHARED_ISSUERS.get(issuer)
}

export interface IssuerEntry extends IssuerOwn {
  readonly name: string
  readonly issuer: string
  /** Absent: the issuer's discovery document names it. */
  readonly jwksUrl: URL | undefined
  readonly audiences: readonly string[]
  /** Hosts that discovery may ask by http, besides loopback. */
  readonly plainHosts?: readonly string[]
  readonly refreshSeconds: number
  readonly maxStaleSeconds: number
}

/** An issuer as a document gives it. */
export interface IssuerGiven {
  readonly from: string
  readonly given: ReadonlyMap<Key, Given>
  readonly own: IssuerOwn
  /** As it was written, for `postern config`. */
  readonly written: unknown
}

/** An issuer of the environment has its scope as one text in one claim (RFC 8693 §4.2). */
export const ONE_TEXT = { claims: ['scope'], textOnly: true } as const

export const ISSUER_KEYS = [
  'issuer',
  'jwksUrl',
  'audiences',
  'jwksRefreshSeconds',
  'jwksMaxStaleSeconds',
] as const satisfies readonly Key[]

/** Mistakes go to `mistakes`; if there are any, the result is not used. */
export function issuerEntries(
  listed: readonly IssuerGiven[],
  given: ReadonlyMap<Key, Given>,
  values: Values,
  mistakes: Mistake[],
): readonly IssuerEntry[] {
  if (listed.length > 1) {
    const entries = listed.map((each) => ({
      ...each,
      values: { ...values, ...ownValues(ISSUER_KEYS, each.given, false, mistakes) },
    }))
    for (const each of entries) {
      mistakes.push(...issuerContradictions(each.given, each.values))
    }
    mistakes.push(...namesakes(listed))
    return entries.flatMap((each) => entryOf(each.values, each, mistakes))
  }
  const [one] = listed
  if (one) return entryOf(values, one, mistakes)
  if (!given.has('issuer')) return []
  return entryOf(values, { from: '', own: { scope: ONE_TEXT } }, mistakes)
}

function entryOf(
  values: Values,
  { from, own }: Pick<IssuerGiven, 'from' | 'own'>,
  mistakes: Mistake[],
): IssuerEntry[] {
  const { issuer, jwksUrl, audiences, jwksRefreshSeconds, jwksMaxStaleSeconds } = values
  if (issuer === undefined || !audiences) return []
  if (!jwksUrl && from === '') return []
  const { plainHttpHosts: plainHosts } = values
  if (!jwksUrl && !isDiscoverable(issuer, plainHosts)) {
    const hint = 'its issuer is not an https URL, under which the key set could be found'
    mistakes.push({ setting: from, message: 'lacks jwks_url', hint })
  }
  const missing = missingClaim(issuer, own.requiredClaims)
  if (missing !== undefined) {
    const hint = `anybody there gets a token for your audience; list it in a document, with required_claims: [${missing}]`
    mistakes.push({
      setting: from === '' ? 'ISSUER' : from,
      message: 'lacks required_claims',
      hint,
    })
  }
  return [
    {
      ...own,
      name: own.name ?? 'default',
      issuer,
      jwksUrl,
      audiences,
      ...(plainHosts && { plainHosts }),
      refreshSeconds: jwksRefreshSeconds ?? 0,
      maxStaleSeconds: jwksMaxStaleSeconds ?? 0,
    },
  ]
}

/** Key sets are read over https, or from loopback and listed hosts. */
function isDiscoverable(issuer: string, plainHosts: readonly string[] = []): boolean {
  const url = URL.parse(issuer)
  if (!url || url.search !== '' || url.hash !== '' || url.username !== '') return false
  const isNear = isLoopback(url.hostname) || isListed(url.hostname, plainHosts)
  return url.protocol === 'https:' || (url.protocol === 'http:' && isNear)
}

/** Several issuers need distinct names for the log, and distinct `iss` for their tokens. */
function namesakes(listed: readonly IssuerGiven[]): Mistake[] {
  const mistakes: Mistake[] = []
  const names = new Map<string, string>()
  const issuers = new Map<string, string>()
  for (const { from, own, given } of listed) {
    const issuer = given.get('issuer')
    if (!('name' in own)) {
      const hint = 'several issuers are told apart by their names, in the log and in policies'
      mistakes.push({ setting: from, message: 'lacks name', hint })
    }
    const named = own.name === undefined ? undefined : names.get(own.name)
    if (named !== undefined) {
      mistakes.push({ setting: from, message: `has the name of ${named}`, hint: 'rename one' })
    }
    if (own.name !== undefined) names.set(own.name, from)
    if (!issuer) continue
    const before = issuers.get(issuer.text)
    if (before !== undefined) {
      const message = `has the issuer of ${before}`
      mistakes.push({ setting: from, message, hint: 'merge the two' })
    }
    issuers.set(issuer.text, from)
  }
  return mistakes
}
