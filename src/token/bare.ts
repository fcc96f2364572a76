// A token as clients send it, and without what some of them put before it.

/** A device's token is one of our own, which stay well under 4 KiB. */
const MAX_OWN_TOKEN_BYTES = 8192

/** Clients that insist on the form of an API key put this before the token; it says nothing. */
export const TOKEN_PREFIX = 'sk-ant-proxy-'

/** `typ` of a device's token. */
export const DEVICE_TOKEN_TYPE = 'postern-device+jwt'

/** The token without its prefix, or undefined where it is too long to be looked at (attack 24). */
export function bareToken(token: string): string | undefined {
  const bare = token.startsWith(TOKEN_PREFIX) ? token.slice(TOKEN_PREFIX.length) : token
  return bare.length > MAX_OWN_TOKEN_BYTES ? undefined : bare
}
