// Finds a request's credential, in any of the headers, and tells its kind by its form. The admission
// of each kind decides whether it is valid.

import type { CallerKind } from '../names.ts'
import { isMeantAsKey } from '../keys/format.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { bareToken, DEVICE_TOKEN_TYPE } from '../token/bare.ts'
import { bearerToken, TWO_CREDENTIALS } from './bearer.ts'

/** OpenAI's clients send the first, Anthropic's the second, Azure's the third. */
const [BEARER, API_KEY, AZURE_KEY] = ['authorization', 'x-api-key', 'api-key']

/**
 * The credential in the form of `Authorization`; null if none was sent. Claude Code's apiKeyHelper
 * sends the same credential twice, which counts as one; if two differ, it is unclear which is
 * meant. `query` is the raw query without its `?`.
 */
export function sentAuthorization(headers: Headers, query: string): string | null | Refusal {
  const authorization = headers.get(BEARER)
  const apiKey = headers.get(API_KEY)
  const azureKey = headers.get(AZURE_KEY)
  if (apiKey === null && azureKey === null) return authorization
  const sent: string[] = []
  if (apiKey !== null) sent.push(`Bearer ${apiKey}`)
  if (azureKey !== null) sent.push(`Bearer ${azureKey}`)
  if (authorization !== null) sent.push(authorization)
  const [first = '', ...others] = sent
  if (others.length === 0) return first
  const one = bearerToken(first, query)
  if (!one.ok) return one
  for (const other of others) {
    const token = bearerToken(other, query)
    if (!token.ok) return token
    if (!isSame(one.value, token.value)) return differing(azureKey !== null)
  }
  return first
}

/** Compares with or without a device token's prefix. */
const isSame = (a: string, b: string): boolean => bareToken(a) === bareToken(b)

const differing = (hasAzureKey: boolean): Refusal =>
  hasAzureKey
    ? refused('ambiguous_credentials', {
        message: 'Authorization, x-api-key and api-key carry different credentials; send one',
      })
    : TWO_CREDENTIALS

/** See login/keys.ts. */
const SESSION_PREFIX = 'pst_'
const MAX_HEADER_LENGTH = 1024
const MAX_HEADERS = 64

/** By the header of a JWT, which is the same for all tokens of one key. */
const kindOfHeader = new Map<string, 'user' | 'device'>()

/** Undefined if the text has the form of no credential. */
export function kindOfToken(sent: string): CallerKind | undefined {
  const token = bareToken(sent)
  if (isMeantAsKey(token)) return 'key'
  if (token.startsWith(SESSION_PREFIX)) return 'session'
  const end = token.indexOf('.')
  if (end < 1 || end > MAX_HEADER_LENGTH) return undefined
  const header = token.slice(0, end)
  const known = kindOfHeader.get(header)
  if (known !== undefined) return known
  const type = typeIn(header)
  if (!type.ok) return undefined
  const kind = type.value === DEVICE_TOKEN_TYPE ? 'device' : 'user'
  if (kindOfHeader.size >= MAX_HEADERS) kindOfHeader.clear()
  // A copy, because a substring would keep the whole token alive.
  kindOfHeader.set(Buffer.from(header).toString('latin1'), kind)
  return kind
}

/** A token whose header claims another kind is checked as that kind, and refused. */
function typeIn(header: string): Decision<unknown> {
  try {
    const { typ } = Object(JSON.parse(Buffer.from(header, 'base64url').toString())) as {
      readonly typ?: unknown
    }
    return granted(typ)
  } catch {
    return refused('invalid_token')
  }
}
