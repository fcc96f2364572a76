// The content that is sealed for a session: its tokens, and the hash of its key. The hash is inside
// the seal so that nobody can substitute another key's.

export interface SessionTokens {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly expiresAtMs: number | undefined
  readonly scope: string | undefined
}

export interface SealedContent {
  readonly tokens: SessionTokens
  /** SHA-256. */
  readonly keyHash: Buffer
}

const HASH_BYTES = 32

export function packed({ tokens, keyHash }: SealedContent): Buffer {
  return Buffer.from(
    JSON.stringify({
      key_hash: keyHash.toString('base64url'),
      access_token: tokens.accessToken,
      refresh_token: tokens.refreshToken,
      expires_at_ms: tokens.expiresAtMs,
      scope: tokens.scope,
    }),
  )
}

/** Undefined if it is not what `packed` makes, for example from another version. */
export function unpacked(bytes: Buffer): SealedContent | undefined {
  const members = parsed(bytes.toString())
  const { access_token: accessToken, refresh_token: refreshToken, scope } = members
  const { expires_at_ms: expiresAtMs, key_hash: hashText } = members
  if (typeof accessToken !== 'string' || typeof hashText !== 'string') return undefined
  if (!isTextOrNone(refreshToken) || !isTextOrNone(scope)) return undefined
  if (expiresAtMs !== undefined && typeof expiresAtMs !== 'number') return undefined
  const keyHash = Buffer.from(hashText, 'base64url')
  if (keyHash.length !== HASH_BYTES) return undefined
  return { tokens: { accessToken, refreshToken, expiresAtMs, scope }, keyHash }
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function isTextOrNone(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}
