// An identity provider in the settings: its mistakes, and the issuer that admission uses.

import { missingClaim } from '../config/issuers.ts'
import type { Issuer } from './admit.ts'
import { type Algorithm, ALGORITHMS, isAlgorithm } from './algorithms.ts'
import { type ClaimPath, claimPath } from './claim-path.ts'
import type { AudienceClaim, RequiredClaim } from './claims.ts'
import { discoveryUrl } from './discovery.ts'

export interface IssuerSettings {
  /** Its name in the log and in policies. */
  readonly name: string
  /** The exact `iss` of its tokens. */
  readonly issuer: string
  /** Undefined: named by the issuer's discovery document. */
  readonly jwksUrl?: URL | undefined
  /** Tokens must name one of these. */
  readonly audiences: readonly string[]
  /** The claims that may hold the audience, the first that a token has; undefined: `aud`. */
  readonly audienceClaims?: readonly AudienceClaim[] | undefined
  /** Undefined: those of the key set. */
  readonly algorithms?: readonly Algorithm[] | undefined
  readonly scope?: ScopeSettings | undefined
  /** Names or paths of claims (claim-path.ts). Undefined: `sub`, and no groups. */
  readonly subjectClaim?: string | undefined
  readonly groupsClaim?: string | undefined
  /** Undefined: users have no organisation. Organisations with the same name count as one. */
  readonly organisationClaim?: string | undefined
  /** `NAME=VALUE` or `PATH=VALUE`: a token must have one of the values for each claim named. */
  readonly requiredClaims?: readonly string[] | undefined
  /** Hosts that discovery may ask by http, besides loopback. */
  readonly plainHosts?: readonly string[]
  readonly refreshSeconds: number
  readonly maxStaleSeconds: number
}

export interface ScopeSettings {
  /** Names or paths; undefined: `scope`, `scp` and `permissions` together. */
  readonly claims?: readonly string[] | undefined
  /** Undefined: `inference`. */
  readonly name?: string | undefined
  /** Refuses lists of texts (RFC 8693 §4.2 has one text); undefined: lists are accepted. */
  readonly textOnly?: boolean | undefined
  /** Requires no scope: a token for this audience is enough. */
  readonly optional?: boolean | undefined
}

export const DEFAULT_SCOPE = 'inference'
const SCOPE_CLAIMS = ['scope', 'scp', 'permissions']
const AUDIENCE_CLAIMS: readonly AudienceClaim[] = ['aud', 'azp', 'client_id']
/** RFC 6749 §3.3, and what a header may quote. */
const SCOPE_NAME = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/

/** Expects settings without mistakes. */
export function issuerOf(settings: IssuerSettings, keys: Issuer['keys']): Issuer {
  const { name, issuer, audiences, audienceClaims = ['aud'], algorithms, scope = {} } = settings
  return {
    name,
    keys,
    scope: scope.optional === true ? undefined : (scope.name ?? DEFAULT_SCOPE),
    algorithms: algorithms && new Set(algorithms),
    rules: {
      issuer,
      audiences,
      audienceClaims,
      subject: path(settings.subjectClaim ?? 'sub'),
      scopes: scope.optional === true ? [] : (scope.claims ?? SCOPE_CLAIMS).map(path),
      required: requiredClaims(settings.requiredClaims ?? []),
      scopeLists: scope.textOnly !== true,
      groups: settings.groupsClaim === undefined ? undefined : path(settings.groupsClaim),
      organisation:
        settings.organisationClaim === undefined ? undefined : path(settings.organisationClaim),
    },
  }
}

function requiredClaims(all: readonly string[]): RequiredClaim[] {
  const values = new Map<string, Set<string>>()
  for (const each of all) {
    const [name, value] = nameAndValue(each)
    values.set(name, (values.get(name) ?? new Set<string>()).add(value))
  }
  return [...values].map(([name, oneOf]) => ({ path: path(name), oneOf }))
}

function nameAndValue(text: string): readonly [name: string, value: string] {
  const at = text.indexOf('=')
  return at === -1 ? ['', text] : [text.slice(0, at), text.slice(at + 1)]
}

function path(text: string): ClaimPath {
  const names = claimPath(text)
  if (!names) throw new Error('names no claim')
  return names
}

/** All mistakes, each with the issuer's name and a hint. */
export function issuerMistakes(all: readonly IssuerSettings[]): string[] {
  const first = new Map<string, string>()
  return all.flatMap((settings) => {
    const before = first.get(settings.issuer)
    if (before === undefined) first.set(settings.issuer, settings.name)
    const twice = before === undefined ? [] : [`has the issuer of ${before}; merge the two`]
    return [...twice, ...mistakesOf(settings)].map((what) => `issuer ${settings.name}: ${what}`)
  })
}

function mistakesOf(settings: IssuerSettings): string[] {
  const { issuer, jwksUrl, audiences, audienceClaims, algorithms, scope } = settings
  const { subjectClaim, groupsClaim, organisationClaim } = settings
  const claims = [subjectClaim, groupsClaim, organisationClaim, ...(scope?.claims ?? [])]
  const missing = missingClaim(issuer, settings.requiredClaims)
  const found: (string | false)[] = [
    issuer === '' && 'has no issuer; give what tokens say as iss',
    !jwksUrl &&
      !discoveryUrl(issuer, settings.plainHosts) &&
      'is not an https URL to discover keys at; give its jwks_url',
    (audiences.length === 0 || audiences.includes('')) &&
      'has no audience; without one, a token for any other service would do',
    audienceClaims !== undefined &&
      !isSome(audienceClaims, (each) => AUDIENCE_CLAIMS.includes(each)) &&
      `has an audience claim other than ${AUDIENCE_CLAIMS.join(', ')}`,
    algorithms !== undefined &&
      !isSome(algorithms, isAlgorithm) &&
      `has an algorithm other than ${ALGORITHMS.join(', ')}`,
    scope?.claims?.length === 0 && 'has an empty list of scope claims; make the scope optional',
    scope?.name !== undefined &&
      !SCOPE_NAME.test(scope.name) &&
      'has a scope that is not a scope (RFC 6749 §3.3); give one word',
    settings.requiredClaims !== undefined &&
      !isSome(settings.requiredClaims, isRequirement) &&
      'has a required claim that is not NAME=VALUE',
    missing !== undefined &&
      `gives anybody there a token for any audience; require a claim, as in ${missing}`,
    claims.some((each) => each !== undefined && !claimPath(each)) &&
      'has a claim that is not a name or path; write a.b, or a\\.b for a name with a dot',
  ]
  return found.filter((each) => each !== false)
}

function isRequirement(text: string): boolean {
  const [name, value] = nameAndValue(text)
  return value !== '' && claimPath(name) !== undefined
}

const isSome = <T>(list: readonly T[], is: (each: T) => boolean): boolean =>
  list.length > 0 && list.every(is)
