// A token as clients send it, and without the prefix that some of them add.

/** Device tokens and keys are our own and stay well under 4 KiB. Users' tokens may be longer. */
const MAX_OWN_TOKEN_BYTES = 8192

/** Clients that require the form of an API key put this before the token; it has no meaning. */
export const TOKEN_PREFIX = 'sk-ant-proxy-'

/** The `typ` of a device token. */
export const DEVICE_TOKEN_TYPE = 'postern-device+jwt'

/** The token without its prefix. */
export function bareToken(token: string): string {
  return token.startsWith(TOKEN_PREFIX) ? token.slice(TOKEN_PREFIX.length) : token
}

/** The same; undefined if it is longer than any token of ours, and so not examined (attack 24). */
export function ownToken(token: string): string | undefined {
  const bare = bareToken(token)
  return bare.length > MAX_OWN_TOKEN_BYTES ? undefined : bare
}
