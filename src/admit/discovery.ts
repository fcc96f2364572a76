// Finds an issuer's keys by OpenID Connect Discovery 1.0 §4. The document counts only if it names the
// issuer exactly as the settings do (§4.3): otherwise one issuer could name the keys of another.

import { isListed } from '../config/egress-kinds.ts'
import type { Ask } from '../http1/ask.ts'
import { isLoopback } from '../hosts.ts'
import { parseStrictObject } from '../token/strict-json.ts'
import { KeySetError } from './key-set.ts'
import { readDocument } from './read-document.ts'

/** Hosts whose URLs may be http, besides loopback, as in `PLAIN_HTTP_HOSTS`. */
type PlainHosts = readonly string[]

/** Undefined if the issuer is not a URL that can be asked: then its key set must be configured. */
export function discoveryUrl(issuer: string, plainHosts: PlainHosts = []): URL | undefined {
  const url = trustworthyUrl(issuer, plainHosts)
  if (!url || url.search !== '' || url.hash !== '') return undefined
  // §4.1: one slash at the end is not doubled.
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
}

/** Throws a `KeySetError` if the document is absent, names another issuer, or names no key set. */
export async function discoverKeySet(
  ask: Ask,
  { issuer, plainHosts = [] }: { readonly issuer: string; readonly plainHosts?: PlainHosts },
  timeoutMs?: number,
): Promise<URL> {
  const url = discoveryUrl(issuer, plainHosts)
  if (!url) throw new KeySetError('discovery: the issuer is not an https URL')
  const text = await readDocument(ask, { url, accept: 'application/json', timeoutMs }).catch(
    (error: unknown) => {
      throw error instanceof KeySetError ? new KeySetError(`discovery: ${error.message}`) : error
    },
  )
  const document = parseStrictObject(text.replace(/^\uFEFF/, ''))
  if (!document) throw new KeySetError('discovery: no JSON object, or a member twice')
  if (document['issuer'] !== issuer) {
    throw new KeySetError('discovery: the document calls its issuer something else')
  }
  const { jwks_uri: named } = document
  const keys = typeof named === 'string' ? trustworthyUrl(named, plainHosts) : undefined
  // Only a plain http document may name a plain http key set.
  if (!keys || (keys.protocol === 'http:' && url.protocol !== 'http:')) {
    throw new KeySetError('discovery: jwks_uri is missing or no https URL')
  }
  return keys
}

/** http only to loopback and listed hosts: anyone who changes the document in transit chooses the keys. */
function trustworthyUrl(text: string, plainHosts: PlainHosts): URL | undefined {
  const url = URL.parse(text)
  if (!url || url.username !== '' || url.password !== '') return undefined
  const { protocol, hostname } = url
  const isNear = isLoopback(hostname) || isListed(hostname, plainHosts)
  return protocol === 'https:' || (protocol === 'http:' && isNear) ? url : undefined
}
