// A token as clients send it, and without what some of them put before it.

/** Device tokens and keys are our own; they stay well under 4 KiB. Users' tokens may be longer. */
const MAX_OWN_TOKEN_BYTES = 8192

/** Clients that insist on the form of an API key put this before the token; it says nothing. */
export const TOKEN_PREFIX = 'sk-ant-proxy-'

/** `typ` of a device's token. */
export const DEVICE_TOKEN_TYPE = 'postern-device+jwt'

/** The token without its prefix. */
export function bareToken(token: string): string {
  return token.startsWith(TOKEN_PREFIX) ? token.slice(TOKEN_PREFIX.length) : token
}

/** The same; undefined where it is longer than any token of ours, and so not looked at (attack 24). */
export function ownToken(token: string): string | undefined {
  const bare = bareToken(token)
  return bare.length > MAX_OWN_TOKEN_BYTES ? undefined : bare
}
